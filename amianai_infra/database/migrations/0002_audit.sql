-- Who did what to the database, when and why: a copy of the audit log group, beside the data. Rows are added and never changed.
--
-- Only the owner, who runs the administrative commands, adds rows; nobody else has any right here. The triggers hold the owner, too:
-- an owner can always drop them, which is why the log group, outside the database, is the record that counts.
CREATE SCHEMA IF NOT EXISTS amianai_audit;
REVOKE ALL ON SCHEMA amianai_audit FROM PUBLIC;

CREATE TABLE IF NOT EXISTS amianai_audit.records (
    id uuid NOT NULL,
    phase text NOT NULL CHECK (phase IN ('begun', 'ended')),
    at timestamptz NOT NULL,
    who text NOT NULL,
    host text NOT NULL,
    action text NOT NULL,
    detail text NOT NULL,
    reason text NOT NULL,
    outcome text NOT NULL,
    rows bigint,
    error text NOT NULL,
    recorded timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id, phase)
);
CREATE INDEX IF NOT EXISTS records_at ON amianai_audit.records (at DESC);
REVOKE ALL ON amianai_audit.records FROM PUBLIC;

CREATE OR REPLACE FUNCTION amianai_audit.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit records are never changed or removed' USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE OR REPLACE TRIGGER only_appended BEFORE UPDATE OR DELETE ON amianai_audit.records
    FOR EACH ROW EXECUTE FUNCTION amianai_audit.refuse();
CREATE OR REPLACE TRIGGER never_emptied BEFORE TRUNCATE ON amianai_audit.records
    FOR EACH STATEMENT EXECUTE FUNCTION amianai_audit.refuse();

-- Also where a session replays changes of another server, in which ordinary triggers rest.
ALTER TABLE amianai_audit.records ENABLE ALWAYS TRIGGER only_appended;
ALTER TABLE amianai_audit.records ENABLE ALWAYS TRIGGER never_emptied;
