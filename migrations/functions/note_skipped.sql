-- Stores why a step had nothing to do; only a compaction may have nothing to do.
CREATE FUNCTION session_chain.note_skipped(p_project text, p_chain bigint, p_ticket bigint, p_step text, p_reason text)
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM session_chain.lock_project(p_project);
  UPDATE session_chain.chains c SET skipped = c.skipped || jsonb_build_object(p_step, p_reason)
    WHERE c.id = p_chain AND c.project_id = p_project AND c.ticket = p_ticket AND c.status IN ('running', 'waiting')
      AND c.plan @> jsonb_build_array(jsonb_build_object('name', p_step, 'kind', 'compaction'));
END
$$;
