-- What was deployed. The key is the transition, so that a call that is repeated finds what the first one did.
CREATE TABLE deployments (
  transition_id text PRIMARY KEY,
  version_id text NOT NULL,
  path text NOT NULL,
  deployed_at timestamptz NOT NULL DEFAULT now()
);
