-- Notes how the calls for an end came out: p_failure is null for success, and else they begin anew after a minute, doubled
-- up to an hour. What was delivered stays so.
CREATE FUNCTION session_chain.note_end(p_key uuid, p_failure text) RETURNS void
LANGUAGE sql AS $$
  UPDATE session_chain.chain_ends e SET failure = p_failure,
      delivered_at = CASE WHEN p_failure IS NULL THEN clock_timestamp() END,
      due_at = clock_timestamp() + least(interval '1 hour', interval '30 s' * 2 ^ least(e.rounds, 7))
    WHERE e.key = p_key AND e.delivered_at IS NULL
$$;
