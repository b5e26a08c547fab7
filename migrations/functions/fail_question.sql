-- Records that a question has failed; an answered one stays answered. What the question or its last attempt has already
-- recorded about the same failure is kept in full. A question of another project is left alone.
CREATE FUNCTION session_chain.fail_question(p_project text, p_question bigint, p_failure jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM session_chain.lock_project(p_project);
  UPDATE project_chat_log_minimal q SET state = 'failed', failure = coalesce(
      CASE WHEN q.failure ->> 'code' = p_failure ->> 'code' THEN q.failure END,
      (SELECT a.failure FROM session_chain.attempts a
       WHERE a.chain IS NULL AND a.project_id = p_project AND a.build_id = 'chat:' || p_question
         AND a.failure ->> 'code' = p_failure ->> 'code'
       ORDER BY a.attempt DESC LIMIT 1),
      p_failure)
    WHERE q.question_id = p_question AND q.project_id::text = p_project AND q.state <> 'answered';
END
$$;
