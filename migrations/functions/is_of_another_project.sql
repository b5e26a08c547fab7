-- Whether a session is another project's: it was written or recorded there, or moved a head of it. A session that the
-- host itself made a head of both is no other project's.
CREATE FUNCTION session_chain.is_of_another_project(p_project text, p_session text) RETURNS boolean
LANGUAGE sql STABLE AS $$
  SELECT EXISTS (SELECT FROM session_chain.sessions s
      WHERE s.session_id = p_session AND s.project_id <> p_project AND s.given_up_at IS NULL)
    OR (EXISTS (SELECT FROM session_chain.every_transition() t
          WHERE t.new_session_id = p_session AND t.project_id <> p_project)
        AND NOT session_chain.was_head(p_project, p_session));
$$;
