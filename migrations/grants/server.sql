-- What the HTTP server needs beside the part of a client: to check the key or the login that a request shows, to make logins,
-- and to list keys without their hashes. It may make no key and revoke none.
-- With psql: psql -v role=app_server -f server.sql
GRANT USAGE ON SCHEMA session_chain TO :"role";
GRANT EXECUTE ON FUNCTION session_chain.find_api_key, session_chain.note_api_key_use, session_chain.list_api_keys,
  session_chain.create_login, session_chain.find_login, session_chain.end_login TO :"role";
