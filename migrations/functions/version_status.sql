-- What `project_versions.status` becomes, by how the steps of a chain ended; null leaves it alone, as for a chain that
-- neither builds nor deploys. Where the definition has a step that deploys (p_deploys), that step decides whether the
-- version is deployed, and a chain without it can at most record that the build failed. A cancelled chain (p_cancelled)
-- does not change a version that is deployed (p_before, its status so far): its build has not failed, and no deployment
-- had begun.
CREATE FUNCTION session_chain.version_status(
  p_steps jsonb, p_deploys boolean, p_cancelled boolean, p_before text, p_succeeded text, p_failed text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE
    WHEN build IS NULL AND deploy IS NULL THEN NULL
    WHEN p_cancelled AND p_before = p_succeeded AND build IS DISTINCT FROM 'failed' AND coalesce(deploy, 'pending') = 'pending'
      THEN NULL
    WHEN build <> 'committed' THEN p_failed
    WHEN deploy IS NOT NULL THEN CASE WHEN deploy = 'completed' THEN p_succeeded ELSE p_failed END
    WHEN p_deploys THEN NULL
    ELSE p_succeeded
  END
  FROM (SELECT max(s ->> 'status') FILTER (WHERE s ->> 'role' = 'build') AS build,
          max(s ->> 'status') FILTER (WHERE s ->> 'role' = 'deploy') AS deploy
        FROM jsonb_array_elements(p_steps) s) of_role;
$$;
