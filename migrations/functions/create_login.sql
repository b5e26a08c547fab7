-- Stores a login with a key, of which only the hash is known here, and deletes those that have expired. A key has 100 logins at
-- most: the oldest goes.
CREATE FUNCTION session_chain.create_login(p_hash text, p_key text, p_lifetime_ms bigint) RETURNS timestamptz
LANGUAGE sql AS $$
  DELETE FROM session_chain.logins WHERE hash IN (
    SELECT l.hash FROM session_chain.logins l WHERE l.expires_at <= clock_timestamp() FOR UPDATE SKIP LOCKED);
  DELETE FROM session_chain.logins WHERE hash IN (
    SELECT l.hash FROM session_chain.logins l WHERE l.hash IN (
      SELECT o.hash FROM session_chain.logins o WHERE o.key_id = p_key ORDER BY o.expires_at DESC OFFSET 99)
    FOR UPDATE SKIP LOCKED);
  INSERT INTO session_chain.logins (hash, key_id, expires_at)
  VALUES (p_hash, p_key, clock_timestamp() + p_lifetime_ms * interval '1 millisecond')
  RETURNING expires_at
$$;
