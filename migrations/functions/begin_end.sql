-- What the activity of the host is called with; no row for an end that was delivered, or that the database does not know
-- any more. While the call is under way, a worker looks every five minutes whether its workflow is still there.
CREATE FUNCTION session_chain.begin_end(p_key uuid) RETURNS SETOF session_chain.chain_ends
LANGUAGE sql ROWS 1 AS $$
  UPDATE session_chain.chain_ends e SET due_at = clock_timestamp() + interval '5 minutes', rounds = e.rounds + 1
    WHERE e.key = p_key AND e.delivered_at IS NULL RETURNING *
$$;
