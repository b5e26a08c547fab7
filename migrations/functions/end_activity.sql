-- Journals how an activity of the host ended: p_state is completed, failed or cancelled. `fenced` refuses a call that
-- does not present the ticket under which the chain holds the project; where it has ended before, the first end stays.
CREATE FUNCTION session_chain.end_activity(
  p_project text, p_chain bigint, p_ticket bigint, p_step text, p_round integer, p_state text, p_failure jsonb)
RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM 1 FROM projects p WHERE p.project_id = session_chain.project_key(p_project) FOR NO KEY UPDATE;
  PERFORM 1 FROM session_chain.holder_of(p_project) c WHERE c.id = p_chain AND c.ticket = p_ticket;
  IF NOT FOUND THEN
    RETURN 'fenced';
  END IF;
  UPDATE session_chain.activity_steps s SET state = p_state, failure = p_failure, ended_at = clock_timestamp()
    WHERE s.chain = p_chain AND s.step = p_step AND s.round = p_round AND s.state = 'running';
  IF FOUND AND p_failure IS NOT NULL THEN
    UPDATE session_chain.chains c SET failures = c.failures || jsonb_build_object(p_step, p_failure) WHERE c.id = p_chain;
  END IF;
  RETURN 'ended';
END
$$;
