-- Lets retention leave a project alone for so many days from now, or longer where that was said before; returns until when.
CREATE FUNCTION session_chain.keep_restored(p_project text, p_days integer) RETURNS timestamptz
LANGUAGE sql AS $$
  INSERT INTO session_chain.project_retention AS r (project_id, restored_until)
  VALUES (p_project, clock_timestamp() + make_interval(days => p_days))
  ON CONFLICT (project_id) DO UPDATE SET restored_until = greatest(r.restored_until, excluded.restored_until)
  RETURNING r.restored_until
$$;
