-- All keys, the newest first, without their hashes: the server, which shows them, can make none and learns no secret.
CREATE FUNCTION session_chain.list_api_keys()
RETURNS TABLE (id text, name text, scope text, projects text[], created_at timestamptz, expires_at timestamptz,
  revoked_at timestamptz, last_used_at timestamptz)
LANGUAGE sql STABLE AS $$
  SELECT k.id, k.name, k.scope, k.projects, k.created_at, k.expires_at, k.revoked_at, k.last_used_at
  FROM session_chain.api_keys k ORDER BY k.created_at DESC, k.id
$$;
