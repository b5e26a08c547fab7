-- Whether a session was a head of the project that a rewind took off the line: the present head does not come from it.
CREATE FUNCTION session_chain.is_rewound(p_project text, p_session text) RETURNS boolean
LANGUAGE sql STABLE AS $$
  SELECT coalesce(bool_and(NOT EXISTS (
    SELECT FROM projects p CROSS JOIN LATERAL session_chain.line_of_heads(p_project, p.session_seq) l
    WHERE p.project_id = session_chain.project_key(p_project) AND t.seq BETWEEN l.low AND l.high)), false)
  FROM session_chain.all_transitions(p_project) t
  WHERE t.new_session_id = p_session AND t.seq IS NOT NULL
$$;
