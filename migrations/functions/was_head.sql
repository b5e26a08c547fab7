-- Whether a session is or was the head of a project according to the transitions, those that the host wrote before
-- included, and those in the archive. Every old session of a numbered transition but the first is the new one of the transition before.
CREATE FUNCTION session_chain.was_head(p_project text, p_session text) RETURNS boolean
LANGUAGE sql STABLE AS $$
  SELECT coalesce(EXISTS (SELECT FROM session_chain.all_transitions(p_project) t WHERE t.new_session_id = p_session)
    OR EXISTS (SELECT FROM session_transitions t
      WHERE t.project_id = session_chain.transition_project_key(p_project) AND t.old_session_id = p_session
        AND t.prev_seq IS NULL)
    OR p_session = (SELECT a.old_session_id FROM session_chain.session_transitions_archive a
      WHERE a.project_id = p_project ORDER BY a.seq LIMIT 1), false);
$$;
