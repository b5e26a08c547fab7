-- Whether an agent of these attempts may still be alive: null for no, else the ms until its lease expires. An attempt
-- counts as alive until its lease has expired without a renewal; its session is sealed, which ends renewals, and its
-- worker is told to look.
CREATE FUNCTION session_chain.stop_attempts(p_attempts bigint[]) RETURNS integer
LANGUAGE sql AS $$
  WITH alive AS (
    SELECT a.id, a.project_id, a.session_id, a.seen_at + a.lease_ms * interval '1 ms' - clock_timestamp() AS left
    FROM session_chain.attempts a
    WHERE a.id = ANY (p_attempts) AND a.state = 'running' AND a.seen_at + a.lease_ms * interval '1 ms' > clock_timestamp()
  ), seal AS (
    UPDATE session_chain.sessions s SET sealed_at = clock_timestamp()
    FROM alive WHERE s.project_id = alive.project_id AND s.session_id = alive.session_id AND s.sealed_at IS NULL
  )
  SELECT max(ceil(extract(epoch FROM alive.left) * 1000))::integer
  FROM alive, pg_notify('session_chain_stop', 'attempt:' || alive.id);
$$;
