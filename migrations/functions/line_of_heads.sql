-- The transitions that the head of transition p_seq comes from, itself included, as ranges of seq: a rewind (the low end of its
-- range) continues with the transition that it went back to, and leaves out what came between.
-- What is archived comes before what is not. A reader that wants the transitions compares their numbers with those of the
-- ranges (generate_series): tried one after the other, many ranges are tried for each transition.
CREATE FUNCTION session_chain.line_of_heads(p_project text, p_seq bigint) RETURNS TABLE (low bigint, high bigint)
LANGUAGE sql STABLE AS $$
  WITH RECURSIVE line (high) AS (
    SELECT p_seq WHERE p_seq IS NOT NULL
    UNION ALL
    SELECT r.rewound_to FROM line CROSS JOIN LATERAL (SELECT coalesce(
      (SELECT t.rewound_to FROM session_transitions t
        WHERE t.project_id = session_chain.transition_project_key(p_project) AND t.rewound_to IS NOT NULL AND t.seq <= line.high
        ORDER BY t.seq DESC LIMIT 1),
      (SELECT a.rewound_to FROM session_chain.session_transitions_archive a
        WHERE a.project_id = p_project AND a.rewound_to IS NOT NULL AND a.seq <= line.high
        ORDER BY a.seq DESC LIMIT 1)) AS rewound_to) r
    WHERE r.rewound_to IS NOT NULL
  )
  SELECT coalesce(
    (SELECT max(t.seq) FROM session_transitions t
      WHERE t.project_id = session_chain.transition_project_key(p_project) AND t.rewound_to IS NOT NULL AND t.seq <= line.high),
    (SELECT max(a.seq) FROM session_chain.session_transitions_archive a
      WHERE a.project_id = p_project AND a.rewound_to IS NOT NULL AND a.seq <= line.high),
    1), line.high
  FROM line
$$;
