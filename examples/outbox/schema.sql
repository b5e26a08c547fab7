-- Beside the host's own tables. A request is inserted in the transaction that makes the version: both are there or neither.
CREATE TABLE build_requests (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  project_id text NOT NULL,
  version_id text NOT NULL UNIQUE,
  workspace text NOT NULL,
  instruction text NOT NULL,
  started_at timestamptz,
  -- Why it cannot be started, for a person to mend.
  failure text
);

CREATE INDEX build_requests_open ON build_requests (project_id, id) WHERE started_at IS NULL AND failure IS NULL;
