-- Makes, lists and revokes the keys of the HTTP server. No part reads the hash of a key from the table.
-- With psql: psql -v role=ops -f keys.sql
GRANT USAGE ON SCHEMA session_chain TO :"role";
GRANT SELECT ON session_chain.installation, session_chain.migrations, session_chain.routines TO :"role";
GRANT SELECT (id, name, scope, projects, created_at, expires_at, revoked_at, last_used_at) ON session_chain.api_keys TO :"role";
GRANT EXECUTE ON FUNCTION session_chain.create_api_key, session_chain.revoke_api_key TO :"role";
