-- Lets the next chain continue without a session. If its transcript comes back, the session counts again.
CREATE FUNCTION session_chain.give_up_session(p_project text, p_session text) RETURNS void
LANGUAGE sql AS $$
  INSERT INTO session_chain.sessions AS s (project_id, session_id, given_up_at)
  VALUES (p_project, p_session, clock_timestamp())
  ON CONFLICT (project_id, session_id) DO UPDATE SET given_up_at = coalesce(s.given_up_at, excluded.given_up_at)
$$;
