-- The database itself keeps balances equal to their entries: triggers post what is inserted into `transfers` and
-- `holds`, and the service may not write a balance.

DROP VIEW ledger_faults, ledger_check;

-- Transfers: who they concern, what they come from, and one order for statements.
ALTER TABLE transfers DISABLE TRIGGER append_only;
ALTER TABLE transfers
    DROP CONSTRAINT transfers_pkey,
    DROP CONSTRAINT transfers_kind_check,
    ADD COLUMN seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ADD COLUMN user_id text,
    ADD COLUMN cause text,
    ADD COLUMN reason text,
    ADD CHECK (kind IN ('grant', 'charge', 'receivable', 'repayment', 'adjustment', 'deduction')),
    ADD CHECK (cause IN ('usage', 'grant', 'adjustment', 'deduction'));
ALTER TABLE transfers RENAME COLUMN id TO cause_id;
ALTER TABLE transfers ALTER COLUMN cause_id DROP DEFAULT;
ALTER TABLE transfers RENAME COLUMN granted_by TO made_by;
UPDATE transfers SET
    user_id = (SELECT accounts.user_id FROM accounts
               WHERE id IN (debit_account, credit_account) AND accounts.user_id IS NOT NULL),
    cause = CASE kind WHEN 'grant' THEN 'grant' ELSE 'usage' END,
    cause_id = CASE kind WHEN 'grant' THEN cause_id ELSE split_part(idempotency_key, ':', 2)::uuid END;
ALTER TABLE transfers
    ALTER COLUMN user_id SET NOT NULL,
    ALTER COLUMN cause SET NOT NULL,
    ADD CHECK ((cause = 'usage') = (attempt IS NOT NULL));
ALTER TABLE transfers ENABLE TRIGGER append_only;
CREATE INDEX transfers_of_user ON transfers (user_id, seq);
COMMENT ON COLUMN transfers.cause_id IS 'The usage event''s id, or the grant''s, adjustment''s or deduction''s own.';

ALTER TABLE accounts ADD CHECK (kind <> 'receivable' OR posted_micros <= 0);

-- Usage: why an attempt has no cost, and one order for lists.
ALTER TABLE usage
    ADD COLUMN unrated text CHECK (unrated IN ('tokens_unknown', 'price_unknown')),
    ADD COLUMN seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE;
DROP INDEX usage_of_user;
CREATE INDEX usage_of_user ON usage (user_id, seq);
CREATE INDEX usage_recorded_at ON usage USING brin (recorded_at);
COMMENT ON COLUMN usage.unrated IS 'Why cost_micros is null, of an attempt that ended since this column exists.';

-- A hold keeps the whole quote: price, credit and markup. Those from before knew only the price: what they still
-- cover is rated by the price book.
ALTER TABLE holds RENAME COLUMN price TO quote;
UPDATE holds SET quote = NULL WHERE quote IS NOT NULL;
COMMENT ON COLUMN holds.quote IS
    'What it was authorized at. A released hold of 0 without one: the attempt ended before it was authorized.';

-- Prices: every version stays.
ALTER TABLE prices ADD COLUMN price jsonb, ADD COLUMN set_by text NOT NULL DEFAULT 'sql',
    ADD COLUMN set_at timestamptz NOT NULL DEFAULT now();
UPDATE prices SET price = jsonb_strip_nulls(jsonb_build_object(
    'input', jsonb_build_object('usd', input_usd::text),
    'output', jsonb_build_object('usd', output_usd::text),
    'cached', CASE WHEN cached_usd IS NOT NULL THEN jsonb_build_object('usd', cached_usd::text) END
));
ALTER TABLE prices DROP COLUMN input_usd, DROP COLUMN output_usd, DROP COLUMN cached_usd;
COMMENT ON TABLE prices IS
    'Overrides of a model''s listed price (a PriceSpec in US$ per million tokens; null: the listed one holds again). '
    'The latest valid_from holds, of equal ones the later version.';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON prices
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The outbox: events as they go out, those that wait included.
ALTER TABLE outbox ADD COLUMN body text;
UPDATE outbox SET type = replace(type, 'latchkey.', ''), body = jsonb_build_object(
    'specversion', '1.0', 'id', event_id, 'source', 'latchkey/billing', 'type', type, 'time', created_at,
    'datacontenttype', 'application/json', 'data', payload
);
ALTER TABLE outbox DROP COLUMN payload, ALTER COLUMN body SET NOT NULL;
ALTER TABLE outbox RENAME COLUMN type TO routing_key;
COMMENT ON COLUMN outbox.body IS 'The CloudEvent as JSON text.';

-- Balances follow their entries. EXECUTE plans anew: a plan made when there were few accounts does not outlive that.
CREATE FUNCTION post_transfers() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    named bigint;
    moved bigint;
BEGIN
    SELECT count(DISTINCT account) INTO named
    FROM (SELECT debit_account AS account FROM made UNION ALL SELECT credit_account FROM made) AS entry;
    EXECUTE '
        UPDATE accounts SET posted_micros = accounts.posted_micros + change.micros
        FROM (
            SELECT account, sum(micros)::bigint AS micros
            FROM (
                SELECT credit_account AS account, amount_micros AS micros FROM made
                UNION ALL
                SELECT debit_account, -amount_micros FROM made
            ) AS entry
            GROUP BY account
        ) AS change
        WHERE accounts.id = change.account';
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved <> named THEN
        RAISE EXCEPTION 'a transfer without its account' USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER post AFTER INSERT ON transfers REFERENCING NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION post_transfers();
-- What the trigger has found needs no second look for every row.
ALTER TABLE transfers DROP CONSTRAINT transfers_debit_account_fkey, DROP CONSTRAINT transfers_credit_account_fkey;

CREATE FUNCTION take_holds() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
    taken record;
BEGIN
    FOR taken IN
        SELECT user_id, sum(amount_micros)::bigint AS micros FROM made
        WHERE state = 'held' AND amount_micros > 0 GROUP BY user_id
    LOOP
        UPDATE accounts SET held_micros = held_micros + taken.micros
        WHERE user_id = taken.user_id AND kind = 'user';
        IF NOT FOUND THEN
            RAISE EXCEPTION 'a hold without its account' USING ERRCODE = 'foreign_key_violation';
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;
CREATE TRIGGER take AFTER INSERT ON holds REFERENCING NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION take_holds();

CREATE FUNCTION free_holds() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    EXECUTE '
        UPDATE accounts SET held_micros = accounts.held_micros - freed.micros
        FROM (SELECT user_id, sum(amount_micros)::bigint AS micros FROM ended GROUP BY user_id) AS freed
        WHERE accounts.kind = ''user'' AND accounts.user_id = freed.user_id';
    RETURN NULL;
END
$$;
CREATE TRIGGER free AFTER UPDATE ON holds REFERENCING OLD TABLE AS ended
    FOR EACH STATEMENT EXECUTE FUNCTION free_holds();

-- A hold ends once, and nothing else of it ever changes.
CREATE FUNCTION refuse_second_ending() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a hold ends once' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER end_once BEFORE UPDATE ON holds FOR EACH ROW
    WHEN (OLD.state <> 'held' OR NEW.state = 'held'
          OR (OLD.run_id, OLD.attempt, OLD.user_id, OLD.amount_micros, OLD.expires_at, OLD.quote, OLD.created_at)
             IS DISTINCT FROM
             (NEW.run_id, NEW.attempt, NEW.user_id, NEW.amount_micros, NEW.expires_at, NEW.quote, NEW.created_at))
    EXECUTE FUNCTION refuse_second_ending();
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON holds
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON accounts
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Users' accounts are opened and locked in one order everywhere, that of user_id and kind; the platform's own are
-- locked last, by the entries themselves. What these functions find, they find by index, whatever the planner knew
-- of the tables when their plans were made.
CREATE FUNCTION open_accounts(users text[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT SET plan_cache_mode = force_custom_plan AS $$
    INSERT INTO accounts (kind, user_id)
    SELECT kind, user_id
    FROM unnest(users) AS wanted (user_id), unnest(ARRAY['receivable', 'user']) AS kind
    WHERE NOT EXISTS (
        SELECT FROM accounts WHERE accounts.user_id = wanted.user_id AND accounts.kind = kind.kind
    )
    ORDER BY user_id, kind
    ON CONFLICT DO NOTHING
$$;

-- Tells what is in them.
CREATE FUNCTION lock_accounts(users text[])
RETURNS TABLE (id bigint, kind text, user_id text, posted_micros bigint, held_micros bigint)
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT SET enable_seqscan = off AS $$
    SELECT id, kind, user_id, posted_micros, held_micros FROM accounts
    WHERE user_id = ANY (users) ORDER BY user_id, kind FOR NO KEY UPDATE
$$;

-- Take holds, in order: each is answered `held` with what now stands (taken, or taken before), `insufficient`,
-- or `over` when its attempt was authorized before and has ended.
CREATE FUNCTION authorize_holds(
    runs uuid[], attempts integer[], users text[], amounts bigint[], expiries timestamptz[], quotes jsonb[]
) RETURNS TABLE (answer text, amount_micros bigint, expires_at timestamptz, quote jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    standing holds;
    available bigint;
BEGIN
    PERFORM FROM accounts WHERE kind = 'user' AND user_id = ANY (users) ORDER BY user_id FOR NO KEY UPDATE;
    FOR i IN 1 .. cardinality(runs) LOOP
        SELECT * INTO standing FROM holds WHERE run_id = runs[i] AND attempt = attempts[i];
        IF NOT FOUND THEN
            SELECT posted_micros - held_micros INTO available
            FROM accounts WHERE kind = 'user' AND user_id = users[i];
            IF amounts[i] > coalesce(available, 0) THEN
                RETURN QUERY SELECT 'insufficient', NULL::bigint, NULL::timestamptz, NULL::jsonb;
                CONTINUE;
            END IF;
            INSERT INTO holds (run_id, attempt, user_id, amount_micros, expires_at, quote, state)
            VALUES (runs[i], attempts[i], users[i], amounts[i], expiries[i], quotes[i], 'held')
            ON CONFLICT DO NOTHING
            RETURNING * INTO standing;
            IF NOT FOUND THEN  -- another user was faster, with the same attempt
                SELECT * INTO standing FROM holds WHERE run_id = runs[i] AND attempt = attempts[i];
            END IF;
        END IF;
        IF standing.user_id <> users[i] OR standing.state <> 'held' THEN
            RETURN QUERY SELECT 'over', NULL::bigint, NULL::timestamptz, NULL::jsonb;
        ELSE
            RETURN QUERY SELECT 'held', standing.amount_micros, standing.expires_at, standing.quote;
        END IF;
    END LOOP;
END
$$;

-- What the stream had told up to an offset, as `latchkey ledger rebuild --check` found it equal to the tables:
-- where a later replay may begin. Of the tables, it covers the rows up to `usage_seq` and `transfer_seq`.
CREATE TABLE checkpoints (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream_offset bigint NOT NULL,
    usage_seq bigint NOT NULL,
    transfer_seq bigint NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE checkpoint_balances (
    checkpoint_id bigint NOT NULL REFERENCES checkpoints ON DELETE CASCADE,
    kind text NOT NULL,
    user_id text,
    posted_micros bigint NOT NULL,
    UNIQUE NULLS NOT DISTINCT (checkpoint_id, kind, user_id)
);
-- One that no replay can begin at any more, because the stream has lost what came next, is forgotten.
CREATE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON checkpoint_balances
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
SELECT 'overdrawn', id::text, posted_micros, held_micros
FROM ledger_check WHERE kind = 'user' AND posted_micros - held_micros < 0
UNION ALL
SELECT 'the accounts do not sum to zero', 'all', total, 0
FROM (SELECT coalesce(sum(posted_micros), 0) AS total FROM accounts) AS summed WHERE total <> 0
UNION ALL
SELECT 'usage charged differs from transfers', coalesce(billed.usage_id, paid.cause_id)::text,
       coalesce(billed.charged_micros, 0), coalesce(paid.micros, 0)
FROM (SELECT usage_id, charged_micros FROM usage WHERE charged_micros > 0) AS billed
FULL JOIN (
    SELECT cause_id, sum(amount_micros) AS micros FROM transfers WHERE cause = 'usage' GROUP BY cause_id
) AS paid ON paid.cause_id = billed.usage_id
WHERE billed.charged_micros IS DISTINCT FROM paid.micros
UNION ALL
SELECT 'usage owed differs from transfers', usage_id::text, receivable_micros, coalesce(amount_micros, 0)
FROM usage LEFT JOIN transfers ON cause_id = usage_id AND kind = 'receivable'
WHERE receivable_micros <> coalesce(amount_micros, 0)
UNION ALL
SELECT 'charged, but not for what it cost on the platform''s key', usage_id::text, charged_micros, cost_micros
FROM usage
WHERE charged_micros > 0
  AND (charged_micros IS DISTINCT FROM cost_micros
       OR key_source IS NULL OR key_source NOT IN ('platform', 'team_gateway')
       OR event ->> 'policy' = 'system')
UNION ALL
SELECT 'not charged, though it used the platform''s key', usage_id::text, charged_micros, cost_micros
FROM usage
WHERE charged_micros = 0 AND cost_micros > 0
  AND key_source IN ('platform', 'team_gateway') AND event ->> 'policy' <> 'system'
  AND outcome NOT IN ('refused', 'expired', 'interrupted')
UNION ALL
SELECT 'a transfer is not what its kind says', cause_id || ' ' || transfers.kind, amount_micros, NULL
FROM transfers
JOIN accounts AS debit ON debit.id = debit_account
JOIN accounts AS credit ON credit.id = credit_account
WHERE (transfers.kind, debit.kind, credit.kind) NOT IN (
    ('grant', 'grants', 'user'), ('charge', 'user', 'revenue'), ('receivable', 'receivable', 'revenue'),
    ('repayment', 'user', 'receivable'), ('adjustment', 'user', 'revenue'), ('adjustment', 'revenue', 'user'),
    ('deduction', 'user', 'revenue'))
   OR transfers.user_id <> coalesce(debit.user_id, transfers.user_id)
   OR transfers.user_id <> coalesce(credit.user_id, transfers.user_id)
UNION ALL
SELECT 'a transfer is of another attempt than its usage', cause_id || ' ' || kind, amount_micros, NULL
FROM transfers JOIN usage ON usage_id = cause_id
WHERE cause = 'usage'
  AND (transfers.user_id, transfers.run_id, transfers.attempt)
      IS DISTINCT FROM (usage.user_id, usage.run_id, usage.attempt)
UNION ALL
SELECT 'a repayment without what was given', cause_id::text, amount_micros, NULL
FROM transfers AS repayment
WHERE kind = 'repayment' AND NOT EXISTS (
    SELECT FROM transfers AS given
    WHERE given.cause_id = repayment.cause_id AND given.kind IN ('grant', 'adjustment')
)
UNION ALL
SELECT 'one cause twice', cause_id || ' ' || kind, count(*), 1
FROM transfers GROUP BY cause_id, kind HAVING count(*) > 1
UNION ALL
SELECT 'settled without a charge', run_id || '/' || attempt, amount_micros, coalesce(charged_micros, 0)
FROM holds LEFT JOIN usage USING (run_id, attempt)
WHERE state = 'settled' AND coalesce(charged_micros, 0) = 0
UNION ALL
SELECT 'held, though its attempt has ended', run_id || '/' || attempt, amount_micros, 0
FROM holds JOIN usage USING (run_id, attempt, user_id)
WHERE state = 'held'
UNION ALL
SELECT 'held past its expiry', run_id || '/' || attempt, amount_micros, 0
FROM holds WHERE state = 'held' AND expires_at < now() - interval '1 minute';

REVOKE INSERT, UPDATE ON accounts FROM :service_role;
REVOKE UPDATE (posted_micros, held_micros) ON accounts FROM :service_role;
REVOKE EXECUTE ON FUNCTION open_accounts, lock_accounts, authorize_holds FROM PUBLIC;
GRANT EXECUTE ON FUNCTION open_accounts, lock_accounts, authorize_holds TO :service_role;
GRANT INSERT ON prices TO :service_role;
GRANT SELECT ON ledger_check, ledger_faults TO :service_role;
