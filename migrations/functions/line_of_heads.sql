-- The transitions that the head of transition p_seq comes from, itself included, as ranges of seq: a rewind (the low end of its
-- range) continues with the transition that it went back to, and leaves out what came between.
CREATE FUNCTION session_chain.line_of_heads(p_project text, p_seq bigint) RETURNS TABLE (low bigint, high bigint)
LANGUAGE sql STABLE AS $$
  WITH RECURSIVE line (high) AS (
    SELECT p_seq WHERE p_seq IS NOT NULL
    UNION ALL
    SELECT r.rewound_to FROM line CROSS JOIN LATERAL (
      SELECT t.rewound_to FROM session_chain.all_transitions(p_project) t
      WHERE t.rewound_to IS NOT NULL AND t.seq <= line.high
      ORDER BY t.seq DESC LIMIT 1) r
  )
  SELECT coalesce((
    SELECT max(t.seq) FROM session_chain.all_transitions(p_project) t
    WHERE t.rewound_to IS NOT NULL AND t.seq <= line.high), 1),
    line.high
  FROM line
$$;
