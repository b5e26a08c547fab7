-- Makes, lists and revokes the keys of the HTTP server. No part reads the table itself, which has the hashes.
-- With psql: psql -v role=ops -f keys.sql
GRANT USAGE ON SCHEMA session_chain TO :"role";
GRANT SELECT ON session_chain.installation, session_chain.migrations, session_chain.routines TO :"role";
GRANT EXECUTE ON FUNCTION session_chain.create_api_key, session_chain.list_api_keys, session_chain.revoke_api_key TO :"role";
