
# OpenBao takes its audit devices from here only; on Vault the bootstrap enables one over the API.
audit "file" "file" {
  options {
    file_path = "{log}"
  }
}
