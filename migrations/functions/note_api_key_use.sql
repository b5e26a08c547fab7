-- Notes that a key was used, to the minute: a busy key does not write at every request.
CREATE FUNCTION session_chain.note_api_key_use(p_id text) RETURNS void
LANGUAGE sql AS $$
  UPDATE session_chain.api_keys SET last_used_at = clock_timestamp()
  WHERE id = p_id AND (last_used_at IS NULL OR last_used_at <= clock_timestamp() - interval '1 minute')
$$;
