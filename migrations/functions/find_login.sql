-- The key that a login stands for, while both may be used. One login at a time: the server that asks may list none.
CREATE FUNCTION session_chain.find_login(p_hash text)
RETURNS TABLE (id text, scope text, projects text[], expires_at timestamptz, is_use_noted boolean)
LANGUAGE sql STABLE AS $$
  SELECT l.key_id, k.scope, k.projects, least(k.expires_at, l.expires_at), k.is_use_noted
  FROM session_chain.logins l CROSS JOIN LATERAL session_chain.find_api_key(l.key_id) k
  WHERE l.hash = p_hash AND l.expires_at > clock_timestamp()
$$;
