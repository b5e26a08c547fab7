-- Asks everything that works for a chain under its present ticket to stop as cancelled. The row decides; the
-- notification only makes workers look at it.
CREATE FUNCTION session_chain.request_stop(p_chain bigint) RETURNS void
LANGUAGE sql AS $$
  WITH cancelled AS (
    UPDATE session_chain.chains SET cancelled_ticket = ticket WHERE id = p_chain AND closed_at IS NULL RETURNING id
  )
  SELECT pg_notify('session_chain_stop', 'chain:' || id) FROM cancelled
$$;
