-- The sessions of a project whose transcripts retention leaves in the database, each with every reason:
--   head          the project's head
--   version       a version's session
--   attempt       an attempt that is not over wrote, forked or adopted it
--   chain         a chain that is not closed: what it started from, and what its attempts wrote, forked or adopted
--   question      a question that is not settled: the head that it found, and what attempts to answer it wrote or forked
--   side_branch   an answer beside the line of heads, younger than p_days
--   young         it was begun, appended to or restored less than p_days ago
--   hold, restored, being_erased   all sessions of a project that is left alone, see why_left_alone
-- What it forked is not needed: a fork refers to the texts itself.
CREATE FUNCTION session_chain.needed_sessions(p_project text, p_days integer) RETURNS TABLE (session_id text, why text)
LANGUAGE sql STABLE AS $$
  WITH since AS MATERIALIZED (SELECT clock_timestamp() - make_interval(days => p_days) AS at, session_chain.why_left_alone(p_project) AS why),
  open_attempt AS (
    SELECT a.*, 'attempt' AS why FROM session_chain.attempts a
    WHERE a.project_id = p_project AND a.state IN ('running', 'waiting')
    UNION ALL
    SELECT a.*, 'chain' FROM session_chain.chains c JOIN session_chain.attempts a ON a.chain = c.id
    WHERE c.project_id = p_project AND c.closed_at IS NULL
    UNION ALL
    SELECT a.*, 'question' FROM project_chat_log_minimal q
    JOIN session_chain.attempts a ON a.project_id = p_project AND a.chain IS NULL AND a.build_id = 'chat:' || q.question_id
    WHERE q.project_id = session_chain.chat_log_project_key(p_project) AND q.question_id IS NOT NULL AND q.state IN ('asked', 'running')
  ), needed (id, why) AS (
    SELECT p.last_ai_session_id::text, 'head' FROM projects p WHERE p.project_id = session_chain.project_key(p_project)
    UNION
    SELECT v.ai_session_id::text, 'version' FROM project_versions v WHERE v.project_id = session_chain.project_key(p_project)
    UNION
    SELECT used.id, a.why FROM open_attempt a CROSS JOIN unnest(ARRAY[a.session_id, a.base_session_id, a.adopts]) AS used (id)
    UNION
    SELECT used.id, 'chain' FROM session_chain.chains c
      CROSS JOIN unnest(ARRAY[c.base_session_id, c.origin ->> 'headSessionId']) AS used (id)
      WHERE c.project_id = p_project AND c.closed_at IS NULL
    UNION
    SELECT q.head_session_id::text, 'question' FROM project_chat_log_minimal q
      WHERE q.project_id = session_chain.chat_log_project_key(p_project) AND q.question_id IS NOT NULL AND q.state IN ('asked', 'running')
    UNION
    SELECT q.ai_session_id::text, 'side_branch' FROM project_chat_log_minimal q CROSS JOIN since
      WHERE q.project_id = session_chain.chat_log_project_key(p_project) AND q.kind = 'side_branch' AND q.answered_at >= since.at
    UNION
    SELECT s.session_id, 'young' FROM session_chain.sessions s CROSS JOIN since
      WHERE s.project_id = p_project AND greatest(s.created_at, s.appended_at, s.restored_at) >= since.at
    UNION
    SELECT s.session_id, since.why FROM session_chain.sessions s CROSS JOIN since
      WHERE s.project_id = p_project AND since.why IS NOT NULL
  )
  SELECT n.id, n.why FROM needed n WHERE n.id IS NOT NULL
$$;
