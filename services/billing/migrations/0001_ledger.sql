-- Money is in credit micros. What is in `transfers` and `usage` stays as it is, for ever.

CREATE TABLE accounts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('user', 'receivable', 'revenue', 'grants')),
    user_id text CHECK ((user_id IS NOT NULL) = (kind IN ('user', 'receivable'))),
    posted_micros bigint NOT NULL DEFAULT 0,
    held_micros bigint NOT NULL DEFAULT 0 CHECK (held_micros >= 0),
    CHECK (kind <> 'user' OR posted_micros - held_micros >= 0),
    UNIQUE NULLS NOT DISTINCT (user_id, kind)
);
COMMENT ON TABLE accounts IS
    'posted_micros is a projection: credits minus debits of transfers. A user owes minus the receivable''s.';

INSERT INTO accounts (kind) VALUES ('revenue'), ('grants');

CREATE TABLE transfers (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    kind text NOT NULL CHECK (kind IN ('grant', 'charge', 'receivable')),
    debit_account bigint NOT NULL REFERENCES accounts,
    credit_account bigint NOT NULL REFERENCES accounts,
    amount_micros bigint NOT NULL CHECK (amount_micros > 0),
    idempotency_key text NOT NULL UNIQUE,
    run_id uuid,
    attempt integer,
    granted_by text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK (debit_account <> credit_account)
);

CREATE TABLE holds (
    run_id uuid NOT NULL,
    attempt integer NOT NULL,
    user_id text NOT NULL,
    amount_micros bigint NOT NULL CHECK (amount_micros >= 0),
    expires_at timestamptz NOT NULL,
    state text NOT NULL CHECK (state IN ('held', 'settled', 'released', 'expired')),
    price jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_id, attempt)
);
COMMENT ON COLUMN holds.price IS
    'The price it was authorized at. A released hold of 0 without one: the attempt ended before it was authorized.';
CREATE INDEX holds_open ON holds (expires_at) WHERE state = 'held';

CREATE TABLE usage (
    usage_id uuid PRIMARY KEY,
    run_id uuid NOT NULL,
    attempt integer NOT NULL,
    user_id text NOT NULL,
    event jsonb NOT NULL,
    flow text GENERATED ALWAYS AS (event ->> 'flow') STORED,
    key_source text GENERATED ALWAYS AS (event ->> 'key_source') STORED,
    provider text GENERATED ALWAYS AS (event ->> 'provider') STORED,
    model text GENERATED ALWAYS AS (event ->> 'model') STORED,
    outcome text GENERATED ALWAYS AS (event ->> 'outcome') STORED,
    cost_micros bigint CHECK (cost_micros >= 0),
    charged_micros bigint NOT NULL CHECK (charged_micros >= 0),
    receivable_micros bigint NOT NULL CHECK (receivable_micros BETWEEN 0 AND charged_micros),
    price_version text,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (run_id, attempt)
);
COMMENT ON COLUMN usage.cost_micros IS 'What the attempt was worth; null when tokens or price are unknown.';
COMMENT ON COLUMN usage.charged_micros IS 'What the user pays, receivable_micros (not covered by a hold) included.';
CREATE INDEX usage_of_user ON usage (user_id, recorded_at DESC, usage_id DESC);

CREATE TABLE prices (
    version bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model text NOT NULL,
    input_usd numeric NOT NULL CHECK (input_usd >= 0),
    output_usd numeric NOT NULL CHECK (output_usd >= 0),
    cached_usd numeric CHECK (cached_usd >= 0),
    valid_from timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE prices IS
    'Overrides of a model''s price (provider/model), in US$ per million tokens; the latest valid_from holds.';

CREATE TABLE outbox (
    event_id uuid PRIMARY KEY,
    type text NOT NULL,
    payload jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transfers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON usage
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Every account as kept, beside what its entries say.
CREATE VIEW ledger_check AS
SELECT accounts.id, kind, accounts.user_id,
       posted_micros, coalesce(entries.micros, 0) AS transfers_micros,
       held_micros, coalesce(open.micros, 0) AS holds_micros
FROM accounts
LEFT JOIN (
    SELECT account, sum(micros) AS micros
    FROM (
        SELECT credit_account AS account, amount_micros AS micros FROM transfers
        UNION ALL
        SELECT debit_account, -amount_micros FROM transfers
    ) AS entry
    GROUP BY account
) AS entries ON entries.account = accounts.id
LEFT JOIN (
    SELECT user_id, sum(amount_micros) AS micros FROM holds WHERE state = 'held' GROUP BY user_id
) AS open ON accounts.kind = 'user' AND open.user_id = accounts.user_id;

-- What does not add up; empty when all is well.
CREATE VIEW ledger_faults AS
SELECT 'posted differs from transfers' AS fault, id::text AS subject,
       posted_micros::numeric AS kept_micros, transfers_micros::numeric AS rebuilt_micros
FROM ledger_check WHERE posted_micros <> transfers_micros
UNION ALL
SELECT 'held differs from open holds', id::text, held_micros, holds_micros
FROM ledger_check WHERE held_micros <> holds_micros
UNION ALL
SELECT 'the accounts do not sum to zero', 'all', total, 0
FROM (SELECT coalesce(sum(posted_micros), 0) AS total FROM accounts) AS summed WHERE total <> 0
UNION ALL
SELECT 'usage charged differs from transfers', coalesce(billed.run_id, paid.run_id)::text,
       coalesce(billed.micros, 0), coalesce(paid.micros, 0)
FROM (SELECT run_id, sum(charged_micros) AS micros FROM usage WHERE charged_micros > 0 GROUP BY run_id) AS billed
FULL JOIN (
    SELECT run_id, sum(amount_micros) AS micros FROM transfers WHERE kind <> 'grant' GROUP BY run_id
) AS paid ON paid.run_id = billed.run_id
WHERE billed.micros IS DISTINCT FROM paid.micros;

GRANT SELECT, INSERT, UPDATE (posted_micros, held_micros) ON accounts TO :service_role;
GRANT SELECT, INSERT ON transfers, usage TO :service_role;
GRANT SELECT, INSERT, UPDATE (state) ON holds TO :service_role;
GRANT SELECT ON prices, ledger_check, ledger_faults TO :service_role;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox TO :service_role;
