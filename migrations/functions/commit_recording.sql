-- Commits what begin_recording began, and nothing else: commit_operation without a value, an answer or a place beside
-- the line of heads. The source is the one that it began with. Of p_options only requireTranscript and rewoundTo count.
CREATE FUNCTION session_chain.commit_recording(
  p_attempt bigint, p_old text, p_new text, p_parent text, p_result jsonb, p_metrics jsonb, p_options jsonb)
RETURNS TABLE (outcome text, result jsonb)
LANGUAGE plpgsql AS $$
DECLARE
  v_attempt session_chain.attempts;
  v_is_rewind boolean;
BEGIN
  SELECT * INTO v_attempt FROM session_chain.attempts a WHERE a.id = p_attempt;
  v_is_rewind := v_attempt.build_id LIKE 'rewind:%';
  IF v_attempt.chain IS NOT NULL OR v_attempt.build_id !~ '^(record|rewind):' OR (v_is_rewind AND NOT EXISTS (
      SELECT FROM session_chain.all_transitions(v_attempt.project_id) t
      WHERE t.seq = (p_options ->> 'rewoundTo')::bigint AND t.new_session_id = v_attempt.base_session_id)) THEN
    RAISE insufficient_privilege USING MESSAGE = format('the attempt %s is not that of a recorded operation, or goes back to another transition', p_attempt);
  END IF;
  RETURN QUERY SELECT * FROM session_chain.commit_operation(p_attempt, v_attempt.step, p_old, p_new, p_parent, p_result, p_metrics,
    jsonb_strip_nulls(jsonb_build_object('requireTranscript', p_options -> 'requireTranscript',
      'rewoundTo', CASE WHEN v_is_rewind THEN p_options -> 'rewoundTo' END)));
END
$$;
