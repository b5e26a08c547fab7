-- Stores a key of the HTTP server, of which only the hash is known here.
CREATE FUNCTION session_chain.create_api_key(p_id text, p_name text, p_hash text, p_scope text, p_projects text[], p_lifetime_ms bigint)
RETURNS void LANGUAGE sql AS $$
  INSERT INTO session_chain.api_keys (id, name, hash, scope, projects, expires_at)
  VALUES (p_id, p_name, p_hash, p_scope, p_projects, clock_timestamp() + p_lifetime_ms * interval '1 millisecond')
$$;
