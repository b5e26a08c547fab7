-- What was deployed. The key is the one of the call, so that a call that is repeated finds what the first one did.
CREATE TABLE deployments (
  key uuid PRIMARY KEY,
  version_id text NOT NULL,
  path text NOT NULL,
  deployed_at timestamptz NOT NULL DEFAULT now()
);
