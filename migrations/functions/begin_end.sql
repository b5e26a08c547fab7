-- What the activity of the host is called with; no row for an end that was delivered, or that the database does not know
-- any more. While the call is under way, the end is not taken for another one: for an hour.
CREATE FUNCTION session_chain.begin_end(p_key uuid) RETURNS SETOF session_chain.chain_ends
LANGUAGE sql ROWS 1 AS $$
  UPDATE session_chain.chain_ends e SET due_at = clock_timestamp() + interval '1 hour', rounds = e.rounds + 1
    WHERE e.key = p_key AND e.delivered_at IS NULL RETURNING *
$$;
