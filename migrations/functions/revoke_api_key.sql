-- Ends a key for good; true where there is one of this id. A key that was revoked before keeps the time of that.
CREATE FUNCTION session_chain.revoke_api_key(p_id text) RETURNS boolean
LANGUAGE sql AS $$
  WITH revoked AS (
    UPDATE session_chain.api_keys SET revoked_at = coalesce(revoked_at, clock_timestamp()) WHERE id = p_id RETURNING id
  )
  SELECT EXISTS (SELECT FROM revoked)
$$;
