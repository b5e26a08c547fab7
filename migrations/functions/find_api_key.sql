-- The key of this id, if it may be used, with the hash that its secret has to have. One key at a time: the server that asks
-- may list none.
CREATE FUNCTION session_chain.find_api_key(p_id text)
RETURNS TABLE (hash text, scope text, projects text[], expires_at timestamptz, is_use_noted boolean)
LANGUAGE sql STABLE AS $$
  SELECT k.hash, k.scope, k.projects, k.expires_at,
    coalesce(k.last_used_at > clock_timestamp() - interval '1 minute', false)
  FROM session_chain.api_keys k
  WHERE k.id = p_id AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())
$$;
