-- Ends a login; true where there was one.
CREATE FUNCTION session_chain.end_login(p_hash text) RETURNS boolean
LANGUAGE sql AS $$
  WITH ended AS (DELETE FROM session_chain.logins WHERE hash = p_hash RETURNING hash)
  SELECT EXISTS (SELECT FROM ended)
$$;
