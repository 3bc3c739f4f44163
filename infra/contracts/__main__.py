"""Write docs/contracts anew."""

from infra.contracts.files import FOLDER, files


def main() -> None:
    wanted = files()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.iterdir():
        if old.name not in wanted:
            old.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text)
    print(f"{len(wanted)} files in {FOLDER}")


if __name__ == "__main__":
    main()
