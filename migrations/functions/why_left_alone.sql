-- Why retention leaves a project alone, null where it does not: hold, being_erased, restored.
CREATE FUNCTION session_chain.why_left_alone(p_project text) RETURNS text
LANGUAGE sql STABLE AS $$
  SELECT CASE
    WHEN r.held_at IS NOT NULL THEN 'hold'
    WHEN EXISTS (SELECT FROM session_chain.erasures e WHERE e.project_id = p_project AND e.finished_at IS NULL) THEN 'being_erased'
    WHEN r.restored_until > clock_timestamp() THEN 'restored'
  END
  FROM (SELECT) one LEFT JOIN session_chain.project_retention r ON r.project_id = p_project
$$;
