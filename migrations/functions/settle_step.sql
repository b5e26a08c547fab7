-- Settles whether a step is committed, once its chain has given it up: the stored result, or null, after which it never
-- will be. The epoch is raised above that of its open attempt, whose commit is refused from then on; its agent keeps
-- its lease until the next step, which waits for it, or the close ends it. p_scheduled_at is when Temporal scheduled
-- this call: a try of the step that was scheduled before is fenced.
CREATE FUNCTION session_chain.settle_step(
  p_project text, p_chain bigint, p_ticket bigint, p_step text, p_round integer, p_scheduled_at timestamptz)
RETURNS TABLE (result jsonb)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  PERFORM 1 FROM projects p WHERE p.project_id = session_chain.project_key(p_project) FOR NO KEY UPDATE;
  RETURN QUERY SELECT a.result FROM session_chain.attempts a
    WHERE a.chain = p_chain AND a.step = p_step AND a.round = p_round AND a.state = 'committed';
  IF NOT FOUND THEN
    UPDATE session_chain.attempts a SET scheduled_at = greatest(a.scheduled_at, p_scheduled_at)
      WHERE a.chain = p_chain AND a.ticket = p_ticket AND a.step = p_step AND a.round = p_round;
    UPDATE projects p SET session_epoch = p.session_epoch + 1
      WHERE p.project_id = session_chain.project_key(p_project) AND EXISTS (SELECT FROM session_chain.attempts a
        WHERE a.chain = p_chain AND a.ticket = p_ticket AND a.step = p_step AND a.round = p_round AND a.state = 'running'
          AND a.epoch = p.session_epoch);
  END IF;
END
$$;
