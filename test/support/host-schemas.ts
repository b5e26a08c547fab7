/** Databases as hosts have had them for long: tables of the product's names with ids, keys, columns and triggers of their own. */

export interface HostSchema {
  name: string;
  /** Makes the tables and leaves in them what old writers left: heads, and transitions that log old = new. */
  sql: string;
  projectId: string;
  /** A second project, whose head no transition explains. */
  driftedProjectId: string;
  versionId: string;
  olderVersionId: string;
  /** Of a chat that has no row yet. */
  chatId: string;
  /** Not an id of this host's types. */
  malformedId: string | null;
}

/** The table of the old writers, as they made it. */
const seedTransitions = `
  CREATE TABLE session_transitions (id serial PRIMARY KEY, project_id varchar(255) NOT NULL, version_id varchar(255),
    old_session_id varchar(255), new_session_id varchar(255) NOT NULL, source varchar(50) NOT NULL,
    created_at timestamptz DEFAULT CURRENT_TIMESTAMP);
  CREATE INDEX idx_session_transitions_project ON session_transitions (project_id);
  CREATE INDEX idx_session_transitions_new_session ON session_transitions (new_session_id);
  COMMENT ON TABLE session_transitions IS 'Audit trail of Claude session ID changes';`;

/** Notes every head that it sees, and stamps rows. */
const triggers = `
  CREATE TABLE head_audit (project_id text, head text, id bigint GENERATED ALWAYS AS IDENTITY);
  CREATE FUNCTION note_head() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    IF NEW.last_ai_session_id IS DISTINCT FROM OLD.last_ai_session_id THEN
      INSERT INTO head_audit VALUES (NEW.project_id::text, NEW.last_ai_session_id);
    END IF;
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
  END $$;
  CREATE TRIGGER projects_note_head BEFORE UPDATE ON projects FOR EACH ROW EXECUTE FUNCTION note_head();`;

const uuids = {
  projectId: '5f3c1a52-5a0e-4a53-9d0b-3a7f5d0f6c11',
  driftedProjectId: '6a0c1a52-5a0e-4a53-9d0b-3a7f5d0f6c12',
  versionId: '7b0c1a52-5a0e-4a53-9d0b-3a7f5d0f6c13',
  olderVersionId: '7b0c1a52-5a0e-4a53-9d0b-3a7f5d0f6c14',
  chatId: '8c0c1a52-5a0e-4a53-9d0b-3a7f5d0f6c15',
};

export const uuidHost: HostSchema = {
  name: 'uuid ids, surrogate keys, further NOT NULL columns, a trigger',
  ...uuids,
  malformedId: 'shop',
  sql: `
    CREATE TABLE projects (id serial PRIMARY KEY, project_id uuid NOT NULL UNIQUE, tenant uuid NOT NULL, name text NOT NULL,
      last_ai_session_id varchar(255), last_ai_session_updated_at timestamptz, updated_at timestamptz NOT NULL);
    CREATE TABLE project_versions (id bigserial PRIMARY KEY, version_id uuid NOT NULL UNIQUE,
      project_id uuid NOT NULL REFERENCES projects (project_id), prompt text NOT NULL, ai_session_id varchar(255),
      ai_session_last_used_at timestamptz, status varchar(20) NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE project_ai_session_metrics (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), session_id varchar(255) NOT NULL,
      project_id uuid NOT NULL REFERENCES projects (project_id), version_id uuid, region text NOT NULL DEFAULT 'eu');
    CREATE TABLE chat_plan_sessions (session_id uuid PRIMARY KEY, project_id uuid NOT NULL, mode text NOT NULL DEFAULT 'plan');
    CREATE TABLE project_chat_log_minimal (id bigserial PRIMARY KEY, session_id uuid NOT NULL, project_id uuid NOT NULL,
      ai_session_id varchar(255), role text NOT NULL DEFAULT 'user');
    ${seedTransitions}
    ${triggers}
    INSERT INTO projects (project_id, tenant, name, last_ai_session_id, updated_at) VALUES
      ('${uuids.projectId}', gen_random_uuid(), 'Shop', NULL, now()),
      ('${uuids.driftedProjectId}', gen_random_uuid(), 'Blog', 'outside-1', now());
    INSERT INTO project_versions (version_id, project_id, prompt, status, created_at) VALUES
      ('${uuids.olderVersionId}', '${uuids.projectId}', 'A shop', 'deployed', now() - interval '1 day'),
      ('${uuids.versionId}', '${uuids.projectId}', 'A shop with search', 'queued', now()),
      ('7b0c1a52-5a0e-4a53-9d0b-3a7f5d0f6c16', '${uuids.driftedProjectId}', 'A blog', 'deployed', now());
    INSERT INTO session_transitions (project_id, old_session_id, new_session_id, source) VALUES
      ('${uuids.projectId}', 'abc', 'abc', 'metadata_generation'), ('not even a uuid', 'abc', 'abc', 'build');`,
};

export const bigintHost: HostSchema = {
  name: 'bigint ids in every table, transitions of its own type',
  projectId: '9007199254740993',
  driftedProjectId: '42',
  versionId: '9007199254740995',
  olderVersionId: '7',
  chatId: '11',
  malformedId: '9223372036854775808',
  sql: `
    CREATE TABLE projects (project_id bigint PRIMARY KEY, owner bigint NOT NULL, last_ai_session_id text,
      last_ai_session_updated_at timestamptz, updated_at timestamptz);
    CREATE TABLE project_versions (id integer GENERATED ALWAYS AS IDENTITY, version_id bigint PRIMARY KEY,
      project_id bigint NOT NULL REFERENCES projects, ai_session_id text, ai_session_last_used_at timestamptz, status text,
      created_at timestamp NOT NULL DEFAULT now());
    CREATE TABLE project_ai_session_metrics (id bigserial PRIMARY KEY, session_id text NOT NULL, project_id bigint, version_id bigint);
    CREATE TABLE chat_plan_sessions (session_id bigint PRIMARY KEY, project_id bigint);
    CREATE TABLE project_chat_log_minimal (id bigserial PRIMARY KEY, session_id bigint NOT NULL, ai_session_id text);
    CREATE TABLE session_transitions (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), project_id bigint NOT NULL REFERENCES projects,
      version_id bigint, old_session_id text, new_session_id text NOT NULL, source text NOT NULL, created_at timestamptz DEFAULT now());
    ${triggers}
    INSERT INTO projects (project_id, owner, last_ai_session_id) VALUES (9007199254740993, 1, NULL), (42, 1, 'outside-1');
    INSERT INTO project_versions (version_id, project_id, created_at) VALUES (7, 9007199254740993, now() - interval '1 day'),
      (9007199254740995, 9007199254740993, now()), (8, 42, now());
    INSERT INTO session_transitions (project_id, old_session_id, new_session_id, source)
      VALUES (9007199254740993, 'abc', 'abc', 'metadata_generation');`,
};

export const varcharHost: HostSchema = {
  name: "the seed's own tables",
  projectId: 'shop',
  driftedProjectId: 'blog',
  versionId: 'shop-v2',
  olderVersionId: 'shop-v1',
  chatId: 'chat-1',
  malformedId: null,
  sql: `
    CREATE TABLE projects (project_id varchar(255) PRIMARY KEY, name text NOT NULL, last_ai_session_id varchar(255),
      last_ai_session_updated_at timestamptz, updated_at timestamptz);
    CREATE TABLE project_versions (id serial PRIMARY KEY, version_id varchar(255) NOT NULL UNIQUE, project_id varchar(255) NOT NULL,
      ai_session_id varchar(255), ai_session_last_used_at timestamptz, status varchar(50), created_at timestamptz DEFAULT now());
    CREATE TABLE project_ai_session_metrics (id serial PRIMARY KEY, session_id varchar(255) NOT NULL);
    CREATE TABLE chat_plan_sessions (id serial PRIMARY KEY, session_id varchar(255));
    CREATE TABLE project_chat_log_minimal (id serial PRIMARY KEY, session_id varchar(255), ai_session_id varchar(255));
    ${seedTransitions}
    ${triggers}
    INSERT INTO projects (project_id, name, last_ai_session_id) VALUES ('shop', 'Shop', NULL), ('blog', 'Blog', 'outside-1');
    INSERT INTO project_versions (version_id, project_id, created_at) VALUES ('shop-v1', 'shop', now() - interval '1 day'),
      ('shop-v2', 'shop', now()), ('blog-v1', 'blog', now());
    INSERT INTO session_transitions (project_id, old_session_id, new_session_id, source)
      VALUES ('shop', 'abc', 'abc', 'metadata_generation');`,
};

export const hostSchemas = [uuidHost, bigintHost, varcharHost];
