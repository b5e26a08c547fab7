-- Where rows of a project ($1) are, in the order in which an erasure deletes them: what refers comes before what it refers
-- to. `tab` is read as x. `action` is what happens to a row: null deletes it, else it is the SET of an UPDATE after which
-- the row is not found any more. Of tables that a host created, only rows and columns of ours are here. `may_stay`: the
-- row stays, emptied, where a table of the host refers to it.
CREATE FUNCTION session_chain.erased_tables()
RETURNS TABLE (n bigint, kind text, tab text, condition text, action text, may_stay boolean)
LANGUAGE sql STABLE AS $$
  WITH own AS (SELECT i.owns_host_tables AS is_own FROM session_chain.installation i)
  SELECT row_number() OVER (), l.kind, l.tab, l.condition, l.action, coalesce(l.may_stay, false)
  FROM own, LATERAL (VALUES
    ('live_chunks', 'session_chain.live_chunks',
      'x.attempt_id = ANY (ARRAY(SELECT a.id FROM session_chain.attempts a WHERE a.project_id = $1))', NULL, NULL),
    ('workspace_searches', 'session_chain.workspace_searches',
      'split_part(x.operation, '':'', 2) = ANY (CASE WHEN x.operation LIKE ''chat:%''
         THEN ARRAY(SELECT q.question_id::text FROM project_chat_log_minimal q
           WHERE q.project_id = session_chain.chat_log_project_key($1) AND q.question_id IS NOT NULL)
         ELSE ARRAY(SELECT c.id::text FROM session_chain.chains c WHERE c.project_id = $1) END)', NULL, NULL),
    ('project_chat_log_minimal', 'project_chat_log_minimal', 'x.project_id = session_chain.chat_log_project_key($1)'
      || CASE WHEN is_own THEN '' ELSE ' AND x.question_id IS NOT NULL' END, NULL, NULL),
    ('chat_plan_sessions', 'chat_plan_sessions', 'x.project_id::text = $1'
      || CASE WHEN is_own THEN '' ELSE ' AND x.workspace IS NOT NULL' END,
      CASE WHEN NOT is_own THEN 'workspace = NULL' END, NULL),
    ('project_ai_session_metrics', 'project_ai_session_metrics', 'x.project_id::text = $1'
      || CASE WHEN is_own THEN '' ELSE ' AND x.attempt_id IS NOT NULL' END, NULL, NULL),
    ('spend_days', 'session_chain.spend_days', 'x.project_id = $1', NULL, NULL),
    ('heads', 'projects', 'x.project_id = session_chain.project_key($1)
      AND num_nonnulls(x.last_ai_session_id, x.last_ai_session_updated_at, x.session_seq) > 0',
      'last_ai_session_id = NULL, last_ai_session_updated_at = NULL, session_seq = NULL', NULL),
    ('versions', 'project_versions', 'x.project_id = session_chain.project_key($1)
      AND num_nonnulls(x.ai_session_id, x.ai_session_last_used_at, x.ai_metadata) > 0',
      'ai_session_id = NULL, ai_session_last_used_at = NULL, ai_metadata = NULL', NULL),
    ('session_transitions', 'session_transitions', 'x.project_id = session_chain.transition_project_key($1)'
      || CASE WHEN is_own THEN '' ELSE ' AND x.seq IS NOT NULL' END, NULL, NULL),
    ('session_transitions_archive', 'session_chain.session_transitions_archive', 'x.project_id = $1', NULL, NULL),
    ('attempts', 'session_chain.attempts', 'x.project_id = $1', NULL, NULL),
    ('activity_steps', 'session_chain.activity_steps',
      'x.chain = ANY (ARRAY(SELECT c.id FROM session_chain.chains c WHERE c.project_id = $1))', NULL, NULL),
    ('briefs', 'session_chain.briefs',
      'x.chain = ANY (ARRAY(SELECT c.id FROM session_chain.chains c WHERE c.project_id = $1))', NULL, NULL),
    ('chains', 'session_chain.chains', 'x.project_id = $1', NULL, NULL),
    ('transcript_batches', 'session_chain.transcript_batches',
      'x.session = ANY (ARRAY(SELECT s.id FROM session_chain.sessions s WHERE s.project_id = $1))', NULL, NULL),
    ('sessions', 'session_chain.sessions', 'x.project_id = $1', NULL, NULL),
    ('transcript_texts', 'session_chain.transcript_texts', 'x.project_id = $1', NULL, NULL),
    ('archive_parts', 'session_chain.archive_parts', 'x.project_id = $1', NULL, NULL),
    ('workspaces', 'session_chain.workspaces', 'x.project_id = $1', NULL, NULL),
    ('chain_ends', 'session_chain.chain_ends', 'x.project_id = $1', NULL, NULL),
    ('events', 'session_chain.events', 'x.project_id = $1', NULL, NULL),
    ('trimmed_events', 'session_chain.trimmed_events', 'x.project_id = $1', NULL, NULL),
    ('project_retention', 'session_chain.project_retention', 'x.project_id = $1', NULL, NULL),
    -- A key of this project alone goes, and of another only the name of the project.
    ('logins', 'session_chain.logins', 'x.key_id IN (SELECT k.id FROM session_chain.api_keys k WHERE k.projects <@ ARRAY[$1])',
      NULL, NULL),
    ('api_keys', 'session_chain.api_keys', 'x.projects <@ ARRAY[$1]', NULL, NULL),
    ('projects_of_keys', 'session_chain.api_keys', 'x.projects @> ARRAY[$1] AND NOT x.projects <@ ARRAY[$1]',
      'projects = array_remove(x.projects, $1)', NULL),
    ('project_versions', 'project_versions', 'x.project_id = session_chain.project_key($1)', NULL, true),
    ('projects', 'projects', 'x.project_id = session_chain.project_key($1)', NULL, true)
  ) AS l (kind, tab, condition, action, may_stay)
  WHERE is_own OR l.may_stay IS NOT TRUE
$$;
