-- Records how an attempt that committed nothing ended and what it spent, and seals its session. With p_wait_ms it is
-- `waiting`, and so is its chain: the next attempt begins after that time. An attempt that was superseded meanwhile
-- stays as it is, except for what it spent: its own counters are more complete than the transcript from which its row
-- was written. p_interrupted: it was stopped or died. p_metrics as in write_metrics.
-- p_open_calls: it noted a tool call whose entry is not stored.
CREATE FUNCTION session_chain.end_operation(
  p_attempt bigint, p_failure jsonb, p_wait_ms integer, p_interrupted boolean, p_metrics jsonb,
  p_open_calls boolean)
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_attempt session_chain.attempts;
BEGIN
  PERFORM session_chain.lock_project((SELECT a.project_id FROM session_chain.attempts a WHERE a.id = p_attempt));
  UPDATE session_chain.attempts a SET failure = p_failure,
      state = CASE WHEN p_wait_ms IS NULL THEN 'failed' ELSE 'waiting' END,
      ended_at = CASE WHEN p_wait_ms IS NULL THEN clock_timestamp() END,
      calls = CASE WHEN p_open_calls THEN a.calls END
    WHERE a.id = p_attempt AND a.state = 'running' RETURNING * INTO v_attempt;
  IF FOUND THEN
    UPDATE session_chain.sessions s SET sealed_at = clock_timestamp()
      WHERE s.project_id = v_attempt.project_id AND s.session_id = v_attempt.session_id AND s.sealed_at IS NULL;
    IF p_wait_ms IS NULL THEN
      UPDATE session_chain.chains c SET failures = c.failures || jsonb_build_object(v_attempt.step, p_failure)
        WHERE c.id = v_attempt.chain;
    ELSE
      UPDATE session_chain.chains c SET status = 'waiting', waiting_for = p_failure ->> 'code',
          waiting_code = session_chain.failure_code(p_failure),
          waiting_until = clock_timestamp() + p_wait_ms * interval '1 ms'
        WHERE c.id = v_attempt.chain AND c.status = 'running';
    END IF;
  ELSIF NOT EXISTS (SELECT FROM session_chain.attempts a WHERE a.id = p_attempt AND a.state = 'failed') THEN
    RETURN;
  END IF;
  PERFORM session_chain.write_metrics(p_attempt,
    CASE WHEN p_interrupted THEN 'interrupted' ELSE coalesce(v_attempt.state, 'interrupted') END, p_metrics, true);
END
$$;
