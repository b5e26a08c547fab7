-- Lets go of a project's folder: another project may have it, and the next chain binds the project to the folder that it is
-- given. `busy` while a chain holds the project, for its agent may be at work there; `unbound` where there is nothing to do,
-- `unknown` where there is no such project either. The folder of a project whose row was deleted is let go as well.
CREATE FUNCTION session_chain.unbind_workspace(p_project text)
RETURNS TABLE (outcome text, path text, holder_workflow_id text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  PERFORM 1 FROM projects p WHERE p.project_id = session_chain.project_key(p_project) FOR NO KEY UPDATE;
  RETURN QUERY SELECT 'busy', NULL, c.workflow_id FROM session_chain.holder_of(p_project) c;
  IF NOT FOUND THEN
    RETURN QUERY DELETE FROM session_chain.workspaces w WHERE w.project_id = p_project RETURNING 'released', w.path, NULL;
  END IF;
  IF NOT FOUND THEN
    RETURN QUERY SELECT CASE WHEN EXISTS (SELECT FROM projects p WHERE p.project_id = session_chain.project_key(p_project))
      THEN 'unbound' ELSE 'unknown' END, NULL, NULL;
  END IF;
END
$$;
