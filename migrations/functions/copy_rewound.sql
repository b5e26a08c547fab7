-- Gives the session of a rewind that is under way the main transcript of the one that it forks.
CREATE FUNCTION session_chain.copy_rewound(p_attempt bigint) RETURNS void
LANGUAGE sql AS $$
  -- No text goes that the copy refers to, see drop_sessions.
  SELECT pg_advisory_xact_lock_shared(hashtextextended('session_chain texts ' || a.project_id, 0))
    FROM session_chain.attempts a WHERE a.id = p_attempt;
  SELECT session_chain.copy_transcript(s.id, c.id)
    FROM session_chain.attempts a
    JOIN session_chain.sessions s ON s.project_id = a.project_id AND s.session_id = a.base_session_id
    JOIN session_chain.sessions c ON c.project_id = a.project_id AND c.session_id = a.session_id
    WHERE a.id = p_attempt AND a.chain IS NULL AND a.build_id LIKE 'rewind:%' AND a.state = 'running'
$$;
