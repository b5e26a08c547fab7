-- Begins a recorded operation or a rewind: begin_operation for a caller that may work for no chain and answer no
-- question. p_build names it as record:… or rewind:…
CREATE FUNCTION session_chain.begin_recording(
  p_project text, p_version text, p_build text, p_source text, p_session text, p_base text, p_while_head text,
  p_input_digest text, p_worker text)
RETURNS TABLE (outcome text, attempt_id bigint, attempt integer, version_id text, build_id text, session_id text,
  base_session_id text, head_session_id text, head_seq bigint, head_is_whole boolean, epoch bigint, adopted_session_id text,
  result jsonb, wait_ms integer, earlier jsonb, holder_workflow_id text, holder_run_id text)
LANGUAGE plpgsql AS $$
BEGIN
  IF p_build !~ '^(record|rewind):' THEN
    RAISE insufficient_privilege USING MESSAGE = format('%s is not the name of a recorded operation', p_build);
  END IF;
  RETURN QUERY SELECT * FROM session_chain.begin_operation(p_project, NULL, NULL, p_version, p_build, p_source, 1, NULL,
    p_session, p_base, p_while_head, p_input_digest, NULL, p_worker, 0);
END
$$;
