/** Generated from docs/openapi.json by `npm run docs`. */

export interface paths {
  '/v1/chains': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** Chains of all projects, the newest first */
    get: operations['listChains'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/chains/counts': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** How many chains work, wait and for what, and how many ended and how */
    get: operations['countChains'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/definitions': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * The definitions that living workers have, the one of most workers first
     * @description Several are a rollout. Prompts, credentials and addresses are in none.
     */
    get: operations['listDefinitions'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/doctor': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** What the server needs, checked now or within the last 30 s */
    get: operations['getDoctor'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/events': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * Events of all projects
     * @description A page of events, oldest first. `nextCursor` is where to go on, also when there are no more yet.
     */
    get: operations['listEvents'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/events/stream': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * Events of all projects, as they happen
     * @description The events as they happen, and between them what running steps and answers store (`live.entry`) and write (`live.text`). A viewer that connects again with `Last-Event-ID`, or `after`, misses none and gets none twice. `gap`: events are no longer kept; read the present state. `ping`: nothing else has happened for a while. `end` is the last one, and says why: `closed`, the chain has ended; `draining` or `failed`, connect again; `key_invalid`.
     */
    get: operations['streamEvents'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/integrity/attempts': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** Attempts whose right to go on ended before they could commit, the newest first */
    get: operations['listFencedAttempts'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/integrity/ends': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** Ends of chains that the host has not been told of for more than a minute, the newest first */
    get: operations['listLateEnds'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/integrity/sessions': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * Heads from which no operation can go on, and sessions in quarantine
     * @description It reads no transcript; a dry run of `recover` also finds what only a scan of every entry tells.
     */
    get: operations['listBrokenSessions'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/keys': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * The keys of the server, without their secrets
     * @description Keys are made and revoked on the command line: session-chain keys.
     */
    get: operations['listKeys'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/login': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * Exchange a key for a cookie, over https or on loopback
     * @description The cookie (HttpOnly, SameSite=Strict) stands for the key on requests of pages of this server, for 12 hours or until the key ends.
     */
    post: operations['logIn'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/logout': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /** End the login of the request's cookie */
    post: operations['logOut'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** Projects, in the order of their ids or by when their heads moved */
    get: operations['listProjects'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** A project: its head, its newest chain, whether it is in sync, what it cost */
    get: operations['getProject'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/chains': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** Chains of a project, the newest first */
    get: operations['listProjectChains'];
    put?: never;
    /**
     * Start the chain of a build
     * @description Idempotent by build id, which the header Idempotency-Key may carry: a second start of the same key is 200 and starts nothing. Location is the address of the chain.
     */
    post: operations['startChain'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/chains/{versionId}/{buildId}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * Everything that is known of a chain
     * @description It reads transcripts: for a look at where the chain stands, `state` is cheaper.
     */
    get: operations['getChain'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/chains/{versionId}/{buildId}/attempts': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** The attempts of a chain, step by step */
    get: operations['listAttempts'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/chains/{versionId}/{buildId}/brief': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** What the chain's fresh session was told about the project's state */
    get: operations['getChainBrief'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/chains/{versionId}/{buildId}/cancel': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * Ask a chain to stop
     * @description The head stays at the last committed session. 202: it was told; its state says when it has stopped.
     */
    post: operations['cancelChain'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/chains/{versionId}/{buildId}/changes': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * What a chain wrote with file tools, as diffs
     * @description What shell commands wrote is not known. Long changes are cut (`isCut`), later ones left out (`leftOut`). It reads transcripts.
     */
    get: operations['getChainChanges'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/chains/{versionId}/{buildId}/events': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * Events of a chain
     * @description A page of events, oldest first. `nextCursor` is where to go on, also when there are no more yet.
     */
    get: operations['listChainEvents'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/chains/{versionId}/{buildId}/events/stream': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * Events of a chain, as they happen
     * @description The events as they happen, and between them what running steps and answers store (`live.entry`) and write (`live.text`). A viewer that connects again with `Last-Event-ID`, or `after`, misses none and gets none twice. `gap`: events are no longer kept; read the present state. `ping`: nothing else has happened for a while. `end` is the last one, and says why: `closed`, the chain has ended; `draining` or `failed`, connect again; `key_invalid`.
     */
    get: operations['streamChainEvents'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/chains/{versionId}/{buildId}/progress': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** What the running step is doing right now, as Temporal knows it */
    get: operations['getChainProgress'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/chains/{versionId}/{buildId}/spend': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** What a chain has spent over all its runs, by step */
    get: operations['getChainSpend'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/chains/{versionId}/{buildId}/state': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * Where a chain stands
     * @description With `waitMs` it answers once the chain is closed, or when the time is over.
     */
    get: operations['getChainState'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/chains/{versionId}/{buildId}/timeline': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * Where the time of a chain went: queue, agent, model, tools, waits
     * @description It reads transcripts. Of a long chain short spans are merged (`isMerged`).
     */
    get: operations['getChainTimeline'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/chats': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** The chats of a project, the one with the newest question first */
    get: operations['listChats'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/chats/{chatId}/questions': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * The newest questions of a chat, oldest first
     * @description `nextCursor` leads to the questions before them.
     */
    get: operations['listQuestions'];
    put?: never;
    /**
     * Ask a question that is answered on a read-only fork of the project's session
     * @description Idempotent by message id, which the header Idempotency-Key may carry. 202: it will be answered; Location is the address of the question. 200: it is answered or has failed, within `waitMs` or before.
     */
    post: operations['ask'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/chats/{chatId}/questions/{messageId}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * A question as it stands
     * @description With `waitMs` it answers once the question is answered or has failed, or when the time is over.
     */
    get: operations['getQuestion'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/erase': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * Erase everything of a project, for good, or say what there is to erase
     * @description 202: it is under way; Location is where it stands. 200: it is finished, within `waitMs`, or a dry run. Meanwhile nothing is begun in the project. What stays is the certificate. While one is under way, the same is returned; afterwards another call looks everywhere anew. A key that is restricted to this project is deleted with it.
     */
    post: operations['eraseProject'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/erasure': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** The erasure of a project that is under way, else the last one with its certificate */
    get: operations['getErasure'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/events': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * Events of a project
     * @description A page of events, oldest first. `nextCursor` is where to go on, also when there are no more yet.
     */
    get: operations['listProjectEvents'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/events/stream': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * Events of a project, as they happen
     * @description The events as they happen, and between them what running steps and answers store (`live.entry`) and write (`live.text`). A viewer that connects again with `Last-Event-ID`, or `after`, misses none and gets none twice. `gap`: events are no longer kept; read the present state. `ping`: nothing else has happened for a while. `end` is the last one, and says why: `closed`, the chain has ended; `draining` or `failed`, connect again; `key_invalid`.
     */
    get: operations['streamProjectEvents'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/head': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * The latest session of a project
     * @description The ETag is the session id: a request with If-None-Match is answered by 304 while the head is the same. `moment` waits until the running step has ended (`after_step`) or the working chain is closed (`committed`), for `waitMs` at most.
     */
    get: operations['getHead'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/hold': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** Whether a project is on legal hold, or left alone because something of it was restored */
    get: operations['getHold'];
    put?: never;
    /**
     * Put a project on legal hold
     * @description Nothing of it is archived away, dropped or erased until it is released.
     */
    post: operations['hold'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/lineage': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** The sessions that the head comes from, the newest first */
    get: operations['getLineage'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/reconcile': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /** Close the chains of a project whose workflows are gone */
    post: operations['reconcile'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/record': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * Record a Claude operation that ran outside a chain
     * @description Its session becomes the head.
     */
    post: operations['recordSession'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/recover': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /** Give up a head that is lost, and say what the next chain continues from */
    post: operations['recover'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/release': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /** End the legal hold of a project */
    post: operations['release'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/restore': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** The restoration that is under way, or the last one */
    get: operations['getRestoration'];
    put?: never;
    /**
     * Bring a session, a month or everything of a project back from the archive
     * @description A worker does it, a file at a time; what is here and the same is left. 200: it has ended within `waitMs`; `state` says how. 202: it goes on; Location is its address. 409 while another restoration of the project is under way.
     */
    post: operations['restore'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/rewind': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * Take the conversation back to an earlier transition
     * @description A copy of the session of the transition becomes the head. The files of the workspace are not taken back.
     */
    post: operations['rewind'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/sessions/{sessionId}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** A session: what it forked, the condition of its transcript, the attempt that wrote it */
    get: operations['getSession'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/sessions/{sessionId}/entries': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * The entries of a session, oldest first
     * @description A session may be running: what is stored later comes after the last cursor.
     */
    get: operations['listEntries'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/sessions/{sessionId}/entries/{cursor}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** One entry of a session, whole */
    get: operations['getEntry'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/spend': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * What a project has spent, failed attempts included
     * @description With `by` also what was spent from `since` to `until`, by day, step or model.
     */
    get: operations['getProjectSpend'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/storage': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** What a project takes in the database and the archive, and what retention frees of it */
    get: operations['getProjectStorage'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/sync': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** Whether a project is in sync, and why it is not */
    get: operations['getProjectSync'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/transitions': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** The moves of the head, the newest first */
    get: operations['listTransitions'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/tree': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** The sessions of a project as a tree */
    get: operations['getTree'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/projects/{projectId}/unbind': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /** Let go of a project's folder */
    post: operations['unbindWorkspace'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/retention': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** When retention runs, the last run, the policies of the workers, the files of the archive */
    get: operations['getRetention'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/retention/runs': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    get?: never;
    put?: never;
    /**
     * Run retention now, or say what a run would do
     * @description 202: it runs; Location is its address. 200: it has ended, within `waitMs`.
     */
    post: operations['runRetention'];
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/retention/runs/{runId}': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * A run of retention as it stands
     * @description With `waitMs` it answers once the run has ended, or when the time is over.
     */
    get: operations['getRetentionRun'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/server': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** What this server is, and what the key may */
    get: operations['getServer'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/spend': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** What was spent, by day, step, model or project */
    get: operations['getSpend'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/spend.csv': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /**
     * The same as a table
     * @description RFC 4180, a line per group. No cell is a formula for a spreadsheet.
     */
    get: operations['getSpendCsv'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/storage': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** What takes space in the database and the archive, and the projects that take most */
    get: operations['getStorage'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/sync': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** How many projects are in sync, and why the others are not */
    get: operations['getSync'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/v1/workers': {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    /** The workers, what they run, and what waits in their task queues */
    get: operations['listWorkers'];
    put?: never;
    post?: never;
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
}
export interface components {
  schemas: {
    ApiKey: {
      /**
       * Format: date-time
       * @description ISO 8601, UTC
       */
      createdAt: string;
      /** @description Null: it does not expire */
      expiresAt: string | null;
      /** @description The public part of the key */
      id: string;
      /** @description To the minute; null before its first use */
      lastUsedAt: string | null;
      name: string;
      /** @description Null: every project */
      projects: string[] | null;
      revokedAt: string | null;
      /** @enum {string} */
      scope: 'read' | 'start' | 'admin';
      /** @enum {string} */
      state: 'valid' | 'expired' | 'revoked';
    };
    Attempt: {
      /** @description The finished session of an earlier attempt that it committed */
      adopts: string | null;
      /** @description 1 for the first attempt of the round */
      attempt: number;
      attemptId: string;
      /** @description What it was to continue from */
      baseSessionId: string | null;
      /** @description US dollars; null where unknown, and until it has ended */
      costUsd: number | null;
      endedAt: string | null;
      /** @description What its transcript proves, as a later attempt found */
      evidence: {
        /** @enum {string} */
        kind: 'finished' | 'partial' | 'nothing';
        rule: string;
      } | null;
      failure: {
        code: components['schemas']['FailureCode'];
        /** @description What happened */
        message: string;
        /** @description What to do */
        remedy: string;
      } | null;
      /**
       * Format: date-time
       * @description When its lease expires without another sign of life
       */
      leaseUntil: string;
      /** @description What it forked: the base, or the session of an earlier attempt, which it continued */
      parentSessionId: string | null;
      /** @description Counts the times that the chain decided to run the step */
      round: number;
      /**
       * Format: date-time
       * @description When Temporal scheduled it, by its clock
       */
      scheduledAt: string;
      /**
       * Format: date-time
       * @description When its worker last gave a sign of life
       */
      seenAt: string;
      /** @description The number of the transition that its commit made */
      seq: number | null;
      /** @description The session that it wrote */
      sessionId: string;
      /**
       * Format: date-time
       * @description ISO 8601, UTC
       */
      startedAt: string;
      /** @enum {string} */
      state: 'running' | 'waiting' | 'failed' | 'committed';
      turns: number | null;
      /** @description The process that ran it, as pid@host */
      worker: string;
    };
    Attempts: {
      attempts: {
        /** @description The finished session of an earlier attempt that it committed */
        adopts: string | null;
        /** @description 1 for the first attempt of the round */
        attempt: number;
        attemptId: string;
        /** @description What it was to continue from */
        baseSessionId: string | null;
        /** @description US dollars; null where unknown, and until it has ended */
        costUsd: number | null;
        endedAt: string | null;
        /** @description What its transcript proves, as a later attempt found */
        evidence: {
          /** @enum {string} */
          kind: 'finished' | 'partial' | 'nothing';
          rule: string;
        } | null;
        failure: {
          code: components['schemas']['FailureCode'];
          /** @description What happened */
          message: string;
          /** @description What to do */
          remedy: string;
        } | null;
        /**
         * Format: date-time
         * @description When its lease expires without another sign of life
         */
        leaseUntil: string;
        /** @description What it forked: the base, or the session of an earlier attempt, which it continued */
        parentSessionId: string | null;
        /** @description Counts the times that the chain decided to run the step */
        round: number;
        /**
         * Format: date-time
         * @description When Temporal scheduled it, by its clock
         */
        scheduledAt: string;
        /**
         * Format: date-time
         * @description When its worker last gave a sign of life
         */
        seenAt: string;
        /** @description The number of the transition that its commit made */
        seq: number | null;
        /** @description The session that it wrote */
        sessionId: string;
        /**
         * Format: date-time
         * @description ISO 8601, UTC
         */
        startedAt: string;
        /** @enum {string} */
        state: 'running' | 'waiting' | 'failed' | 'committed';
        step: string;
        turns: number | null;
        /** @description The process that ran it, as pid@host */
        worker: string;
      }[];
    };
    BrokenSessions: {
      /** @description `cursor` of the next page; null on the last one */
      nextCursor: string | null;
      sessions: {
        /** @description When an entry of it was stored last */
        appendedAt: string | null;
        /** @description Why, for people */
        detail: string;
        /** @description Since when the next chain goes on from an ancestor instead */
        givenUpAt: string | null;
        /** @description The project's next operation goes on from it */
        isHead: boolean;
        projectId: string;
        quarantinedAt: string | null;
        /**
         * @description `quarantined`: a step could not load it; `hole`: entries of it are gone; `lost`: all of it is gone; `unknown`: it never was in the store
         * @enum {string}
         */
        reason: 'quarantined' | 'hole' | 'lost' | 'unknown';
        /** @description The id of a Claude session */
        sessionId: string;
      }[];
    };
    /** @description Everything that is known of a chain */
    Chain: {
      /** @description What the first step forks; null for a fresh session */
      baseSessionId: string | null;
      brief?: {
        /**
         * Format: date-time
         * @description ISO 8601, UTC
         */
        createdAt: string;
        /** @description The head whose memory it replaces */
        headSessionId: string;
        parts: {
          characters: number;
          /** @description A session, a version, a path or a range of transitions */
          from: string;
          /** @enum {string} */
          part: 'summary' | 'replies' | 'requests' | 'metadata' | 'document' | 'operations';
        }[];
      };
      budget: {
        /** @description US dollars */
        maxCostUsd?: number;
        maxTurns?: number;
        timeoutMs?: number;
      } | null;
      /** @description What it may still take; a field is null where the budget does not limit it */
      budgetLeft: {
        costUsd: number | null;
        timeMs: number | null;
        turns: number | null;
      } | null;
      buildId: string;
      closedAt: string | null;
      /**
       * Format: date-time
       * @description ISO 8601, UTC
       */
      createdAt: string;
      /** @description How it ended, each time, the newest first, and whether the host was told (onEnd) */
      ends: {
        buildId: string;
        chainId: string;
        /** @description When the activity of the host succeeded; null until then */
        deliveredAt: string | null;
        /** @description When the next round begins at the latest; null once it is delivered */
        dueAt: string | null;
        /**
         * Format: date-time
         * @description ISO 8601, UTC
         */
        endedAt: string;
        /** @description The event chain.closed */
        eventId: number;
        /** @description Why the last round of calls failed */
        failure: string | null;
        failureCode: components['schemas']['FailureCode'] | null;
        /**
         * Format: uuid
         * @description The same at every call for this end
         */
        key: string;
        projectId: string;
        /** @description How often calls for it began */
        rounds: number;
        seq: number | null;
        /** @description The project's head as the chain left it */
        sessionId: string | null;
        /** @enum {string} */
        status: 'completed' | 'completed_with_warnings' | 'failed' | 'cancelled' | 'budget_exceeded';
        steps: string[];
        versionId: string;
      }[];
      failure?: {
        code: components['schemas']['FailureCode'];
        /** @description What happened */
        message: string;
        /** @description What to do */
        remedy: string;
      };
      firstLine: string | null;
      head: components['schemas']['Head'];
      instruction: string | null;
      /** @enum {string} */
      mode: 'initial' | 'update';
      openedAt: string | null;
      origin?: {
        /** @description Tokens in the head's context */
        contextTokens?: number;
        headSeq: number | null;
        headSessionId: string | null;
        /** @enum {string} */
        kind: 'head' | 'fresh' | 'recovery' | 'context_reset';
        /** @description Moves of the head since a fresh session was started */
        operations?: number;
      };
      projectId: string;
      queue?: {
        /** @description 1 is the next to hold the project */
        position: number;
        /** @description Workflow id of the chain in the way */
        waitsFor: string;
      };
      /**
       * Format: date-time
       * @description When it was last asked for
       */
      requestedAt: string;
      /** @description The steps that its last start named; null for all of the definition */
      requestedSteps: string[] | null;
      /** @description What the chain starts from, in a sentence */
      resumedFrom?: string;
      saved: components['schemas']['Saved'];
      spent: components['schemas']['ChainSpend'];
      /** @enum {string} */
      status:
        | 'queued'
        | 'running'
        | 'waiting'
        | 'completed'
        | 'completed_with_warnings'
        | 'failed'
        | 'cancelled'
        | 'budget_exceeded';
      steps: components['schemas']['StepDetails'][];
      versionId: string;
      /**
       * Format: date-time
       * @description ISO 8601, UTC
       */
      waitingUntil?: string;
      warnings: string[];
      workflowId: string;
      /** @description Absolute path of the project's files, as the worker sees it */
      workspace: string;
    };
    ChainBrief: {
      /** @description Null where the chain went on from the head */
      brief: {
        /** @description The text as it was in the prompt */
        content: string;
        /**
         * Format: date-time
         * @description ISO 8601, UTC
         */
        createdAt: string;
        /** @description The head whose memory it replaces */
        headSessionId: string;
        parts: {
          characters: number;
          /** @description A session, a version, a path or a range of transitions */
          from: string;
          /** @enum {string} */
          part: 'summary' | 'replies' | 'requests' | 'metadata' | 'document' | 'operations';
        }[];
      } | null;
    };
    ChainCounts: {
      /** @description Those that failed since `since`, by the code */
      failed: {
        [key: string]: number;
      };
      /**
       * Format: date-time
       * @description ISO 8601, UTC
       */
      since: string;
      /** @description Open ones as they are now, and those that have ended since `since` */
      status: {
        budget_exceeded: number;
        cancelled: number;
        completed: number;
        completed_with_warnings: number;
        failed: number;
        queued: number;
        running: number;
        waiting: number;
      };
      /** @description Open ones that wait, by what for */
      waitingFor: {
        activity: number;
        model: number;
        queue: number;
        worker: number;
      };
    };
    /** @description Chains, newest first */
    ChainPage: {
      chains: components['schemas']['ChainSummary'][];
      /** @description `cursor` of the next page; null on the last one */
      nextCursor: string | null;
    };
    ChainProgress: {
      /** @description Null when no step runs */
      progress: {
        /** @description The tool that ran last */
        activity?: string;
        lastFailure?: string;
        step: string;
        tries: number;
        turns?: number;
      } | null;
    };
    ChainSpend: {
      attempts: number;
      attemptsOfUnknownCost: number;
      /** @description By model; a cost is null where one of its attempts is of unknown cost */
      byModel: {
        [key: string]: {
          cacheReadTokens: number;
          cacheWriteTokens: number;
          costUsd: number | null;
          /** @description Tokens that were neither read from nor written to the prompt cache */
          inputTokens: number;
          outputTokens: number;
        };
      };
      /** @description US dollars, as far as they are known */
      costUsd: number;
      /** @description Sum of the attempts' durations, without the time between them */
      durationMs: number;
      steps: {
        attempts: number;
        attemptsOfUnknownCost: number;
        /** @description By model; a cost is null where one of its attempts is of unknown cost */
        byModel: {
          [key: string]: {
            cacheReadTokens: number;
            cacheWriteTokens: number;
            costUsd: number | null;
            /** @description Tokens that were neither read from nor written to the prompt cache */
            inputTokens: number;
            outputTokens: number;
          };
        };
        /** @description US dollars, as far as they are known */
        costUsd: number;
        /** @description Sum of the attempts' durations, without the time between them */
        durationMs: number;
        step: string;
        /** @description Model turns */
        turns: number;
        /** @description Attempts that were stopped or died in a turn, which is in no figure */
        turnsInFlightUnknown: number;
        usage: {
          cacheReadTokens: number;
          cacheWriteTokens: number;
          /** @description Tokens that were neither read from nor written to the prompt cache */
          inputTokens: number;
          outputTokens: number;
        };
      }[];
      /** @description Model turns */
      turns: number;
      /** @description Attempts that were stopped or died in a turn, which is in no figure */
      turnsInFlightUnknown: number;
      usage: {
        cacheReadTokens: number;
        cacheWriteTokens: number;
        /** @description Tokens that were neither read from nor written to the prompt cache */
        inputTokens: number;
        outputTokens: number;
      };
    };
    /** @description Where a chain stands */
    ChainState: {
      /** @description What the first step forks; null for a fresh session */
      baseSessionId: string | null;
      brief?: {
        /**
         * Format: date-time
         * @description ISO 8601, UTC
         */
        createdAt: string;
        /** @description The head whose memory it replaces */
        headSessionId: string;
        parts: {
          characters: number;
          /** @description A session, a version, a path or a range of transitions */
          from: string;
          /** @enum {string} */
          part: 'summary' | 'replies' | 'requests' | 'metadata' | 'document' | 'operations';
        }[];
      };
      buildId: string;
      failure?: {
        code: components['schemas']['FailureCode'];
        /** @description What happened */
        message: string;
        /** @description What to do */
        remedy: string;
      };
      head: components['schemas']['Head'];
      /** @enum {string} */
      mode: 'initial' | 'update';
      origin?: {
        /** @description Tokens in the head's context */
        contextTokens?: number;
        headSeq: number | null;
        headSessionId: string | null;
        /** @enum {string} */
        kind: 'head' | 'fresh' | 'recovery' | 'context_reset';
        /** @description Moves of the head since a fresh session was started */
        operations?: number;
      };
      projectId: string;
      queue?: {
        /** @description 1 is the next to hold the project */
        position: number;
        /** @description Workflow id of the chain in the way */
        waitsFor: string;
      };
      /** @description What the chain starts from, in a sentence */
      resumedFrom?: string;
      /** @enum {string} */
      status:
        | 'queued'
        | 'running'
        | 'waiting'
        | 'completed'
        | 'completed_with_warnings'
        | 'failed'
        | 'cancelled'
        | 'budget_exceeded';
      /** @description Empty until the chain has opened */
      steps: {
        /** @description Attempts so far */
        attempts: number;
        /** @description US dollars of all attempts, as far as they are known */
        costUsd: number;
        durationMs: number;
        failure?: {
          code: components['schemas']['FailureCode'];
          /** @description What happened */
          message: string;
          /** @description What to do */
          remedy: string;
        };
        /** @enum {string} */
        kind: 'work' | 'submission' | 'compaction' | 'activity';
        newSessionId: string | null;
        oldSessionId: string | null;
        /** @description Why it was skipped, or what it waits for */
        reason?: string;
        /** @enum {string} */
        role?: 'build' | 'deploy';
        /** @enum {string} */
        status:
          'pending' | 'running' | 'waiting' | 'committed' | 'completed' | 'skipped' | 'failed' | 'cancelled';
        /** @description The name of the step */
        step: string;
        /** @description Model turns of all attempts */
        turns: number;
        usage: {
          cacheReadTokens: number;
          cacheWriteTokens: number;
          /** @description Tokens that were neither read from nor written to the prompt cache */
          inputTokens: number;
          outputTokens: number;
        };
        /** @description The submitted value */
        value?: {
          [key: string]: unknown;
        };
      }[];
      versionId: string;
      /**
       * Format: date-time
       * @description ISO 8601, UTC
       */
      waitingUntil?: string;
      warnings: string[];
    };
    ChainSummary: {
      attemptsOfUnknownCost: number;
      buildId: string;
      closedAt: string | null;
      /** @description US dollars, as far as they are known */
      costUsd: number;
      /**
       * Format: date-time
       * @description ISO 8601, UTC
       */
      createdAt: string;
      /** @description Why it stands still though workers poll: its workflow task fails, where Temporal was asked */
      failingTask: {
        /** @description As Temporal names it, such as NON_DETERMINISTIC_ERROR */
        cause: string;
        /** @description What the worker said */
        message: string;
        /**
         * Format: date-time
         * @description When it failed first
         */
        since: string;
        tries: number;
        /** @description The worker that said it; may be empty */
        worker: string;
      } | null;
      failure: {
        code: components['schemas']['FailureCode'];
        /** @description What happened */
        message: string;
        /** @description What to do */
        remedy: string;
      } | null;
      /** @description The first line of what was asked for */
      firstLine: string | null;
      /** @description The task queue that it waits on and that no worker polls, where Temporal was asked */
      missingWorker: {
        othersOnly: string | null;
        /**
         * Format: date-time
         * @description ISO 8601, UTC
         */
        since: string;
        taskQueue: string;
      } | null;
      /** @enum {string} */
      mode: 'initial' | 'update';
      openedAt: string | null;
      /**
       * Format: date-time
       * @description When it last made progress
       */
      progressAt: string;
      projectId: string;
      queue: {
        /** @description 1 is the next to hold the project */
        position: number;
        /** @description Workflow id of the chain in the way */
        waitsFor: string;
      } | null;
      /** @description Why it waits or failed, or its warnings */
      reason: string | null;
      /** @description The project's head, or the head that a closed chain left */
      sessionId: string | null;
      /** @enum {string} */
      status:
        | 'queued'
        | 'running'
        | 'waiting'
        | 'completed'
        | 'completed_with_warnings'
        | 'failed'
        | 'cancelled'
        | 'budget_exceeded';
      /** @description The step that it works on, waits in, or failed at */
      step: string | null;
      /** @description The steps of its plan in order; empty until it has opened */
      steps: {
        /** @enum {string} */
        status:
          'pending' | 'running' | 'waiting' | 'committed' | 'completed' | 'skipped' | 'failed' | 'cancelled';
        step: string;
      }[];
      versionId: string;
      /** @description What it waits for and since when */
      waitingFor:
        | (
            | {
                /** @description The workflow in the way */
                behind: string | null;
                /** @constant */
                kind: 'queue';
                position: number | null;
                /**
                 * Format: date-time
                 * @description ISO 8601, UTC
                 */
                since: string;
              }
            | {
                /** @constant */
                kind: 'worker';
                lacks: string | null;
                /**
                 * Format: date-time
                 * @description ISO 8601, UTC
                 */
                since: string;
                taskQueue: string;
                until: string | null;
              }
            | {
                /** @constant */
                kind: 'model';
                /**
                 * Format: date-time
                 * @description ISO 8601, UTC
                 */
                since: string;
                until: string | null;
              }
            | {
                activity: string;
                /** @constant */
                kind: 'activity';
                /**
                 * Format: date-time
                 * @description ISO 8601, UTC
                 */
                since: string;
                taskQueue: string;
              }
          )
        | null;
      waitingUntil: string | null;
      warnings: string[];
      workflowId: string;
    };
    /** @description What a chain wrote with file tools */
    Changes: {
      steps: {
        /** @description In the order of the writes, attempt by attempt */
        changes: {
          at: string | null;
          attemptId: string;
          /** @description The entry with the tool's result */
          entryId: string | null;
          hunks: {
            /** @description Each begins with a space (stayed), - (removed) or + (added) */
            lines: string[];
            /** @description The first line after */
            newStart: number | null;
            /** @description The first line before, from 1; null where the tool did not say */
            oldStart: number | null;
          }[];
          /** @description Lines were shortened or left out */
          isCut: boolean;
          /** @description The file was not there before */
          isNew: boolean;
          /** @description Relative to the folder in which the agent worked */
          path: string;
          tool: string;
        }[];
        /** @description Later changes of the step that did not fit */
        leftOut: number;
        step: string;
      }[];
    };
    /** @description Chats, the one with the newest question first */
    ChatPage: {
      chats: {
        chatId: string;
        failed: number;
        /**
         * Format: date-time
         * @description ISO 8601, UTC
         */
        firstAskedAt: string;
        /** @description Its newest question */
        newest: components['schemas']['Question'];
        /** @description Those that wait for their answers */
        open: number;
        /** @description Questions that were asked in it */
        questions: number;
      }[];
      /** @description `cursor` of the next page; null on the last one */
      nextCursor: string | null;
    };
    DefinedStep: {
      /** @description The type of the activity of the host */
      activity: string | null;
      /** @description The tools that it may use */
      allowedTools: string[];
      /** @description The column of project_versions that gets what it submits */
      column: string | null;
      /** @description A failure of the step fails the chain */
      critical: boolean;
      /** @enum {string} */
      kind: 'work' | 'submission' | 'compaction' | 'activity';
      maxAttempts: number;
      /** @description US dollars of all its attempts together; null for no limit */
      maxCostUsd: number | null;
      /** @description Model turns of all its attempts together */
      maxTurns: number | null;
      /** @description `default` for the own choice of Claude Code; null for an activity */
      model: string | null;
      name: string;
      purpose: string | null;
      role: ('build' | 'deploy') | null;
      taskQueue: string | null;
      /** @description Of a compaction: the size of the context below which it is skipped */
      thresholdTokens: number | null;
      /** @description Of one attempt, in ms */
      timeoutMs: number;
      /** @description Files and folders of which it should write at least one */
      writes: string[];
    };
    DefinitionInUse: {
      definition: {
        /** @description Whether CLAUDE.md of the workspace is read */
        claudeMd: boolean;
        /** @description The size of the house rules */
        houseRulesCharacters: number;
        /** @description Their names */
        mcpServers: string[];
        /** @description Of steps that name none */
        model: string;
        /** @description The activity of the host that is called at every end of a chain */
        onEnd: {
          activity: string;
          /** @description A task queue in Temporal */
          taskQueue: string;
        } | null;
        /** @description When a build starts a fresh session */
        reset: {
          /** @description Above so many tokens of context; 0 for never */
          contextTokens: number;
          /** @description After so many operations; 0 for never */
          operations: number;
        };
        /** @description In order */
        steps: components['schemas']['DefinedStep'][];
        /** @description The built-in tools of every step */
        tools: string[];
      };
      digest: string;
      /** @description Where workers loaded it from */
      files: string[];
      /** @description The living workers that have it, each as pid@host */
      workers: string[];
    };
    /** @description What living workers have loaded */
    Definitions: {
      definitions: components['schemas']['DefinitionInUse'][];
    };
    Doctor: {
      /**
       * Format: date-time
       * @description When the checks were made; their result is kept for 30 s
       */
      checkedAt: string;
      findings: components['schemas']['Finding'][];
    };
    /** @description Entries of a transcript, oldest first */
    EntriesPage: {
      entries: components['schemas']['Entry'][];
      /** @description `cursor` of the next page; null on the last one */
      nextCursor: string | null;
      projectId: string;
      /** @description The id of a Claude session */
      sessionId: string;
    };
    /** @description An entry of a transcript */
    Entry: {
      /** @description When it was written, as Claude Code says */
      at: string | null;
      /** @description Of the boundary of a compaction: the tokens of the context before and after */
      compaction: {
        tokensAfter: number | null;
        tokensBefore: number;
      } | null;
      /** @description Where to go on after it */
      cursor: string;
      /** @description Its uuid, the same in every session that has a copy */
      entryId: string | null;
      /** @description The number of images in it, which `raw` has */
      images: number;
      /** @description A text of the parts was cut, because of `maxText` */
      isCut: boolean;
      /** @description Copied from the session that this one forked */
      isInherited: boolean;
      parts: (
        | {
            /** @constant */
            kind: 'text';
            text: string;
          }
        | {
            /** @constant */
            kind: 'thinking';
            text: string;
          }
        | {
            id: string;
            input: unknown;
            /** @constant */
            kind: 'tool_call';
            name: string;
          }
        | {
            id: string;
            isError: boolean;
            /** @constant */
            kind: 'tool_result';
            text: string;
          }
      )[];
      /** @description The entry as Claude Code wrote it; null where it was not asked for */
      raw: {
        [key: string]: unknown;
      } | null;
      /** @description The request to the model whose answer it is part of; an answer is stored in several entries, of which the last has all tokens */
      request: {
        id: string;
        model: string;
        stopReason: string | null;
        usage: {
          cacheReadTokens: number;
          cacheWriteTokens: number;
          /** @description Tokens that were neither read from nor written to the prompt cache */
          inputTokens: number;
          outputTokens: number;
        };
      } | null;
      /** @description Null where it says nothing that a conversation would show */
      role: ('user' | 'assistant' | 'system') | null;
      /** @description Null in the main conversation */
      subagent: string | null;
      /** @description The type that Claude Code gives it, with its kind behind a slash. `user/meta`, `user/command` and `user/summary` are from Claude Code itself, `assistant/error` is an answer that failed */
      type: string;
    };
    Erasure: {
      /** @description All that stays of an erased project */
      certificate: {
        /** @description By kind: tables, and workflows, archive_files, checkpoints, run_folders */
        erased: {
          [key: string]: number;
        };
        /** Format: uuid */
        erasureId: string;
        /**
         * Format: date-time
         * @description ISO 8601, UTC
         */
        finishedAt: string;
        /** @description What no delete reaches at once, and when it goes */
        later: {
          until: string;
          what: string;
        }[];
        /** @description What was left on purpose */
        left: {
          what: string;
          why: string;
        }[];
        projectId: string;
        reason: string | null;
        /**
         * Format: date-time
         * @description ISO 8601, UTC
         */
        requestedAt: string;
        requestedBy: string;
      } | null;
      /** @description What there is to erase, or what was erased so far, by kind */
      counts: {
        [key: string]: number;
      };
      /** @description Null for a dry run */
      erasureId: string | null;
      projectId: string;
      /** @enum {string} */
      state: 'planned' | 'running' | 'finished';
    };
    /** @description What happened to a project */
    Event: {
      /** @description ISO 8601 */
      at: string;
      buildId: string | null;
      /** @description Null outside a chain */
      chainId: string | null;
      /** @description Where to go on after it */
      cursor: string;
      /** @description What the type carries: ids, numbers and short labels */
      data: {
        [key: string]: unknown;
      };
      /** @description Rises within a project */
      id: number;
      projectId: string;
      /** @description Such as `step.committed`; a type that is not known is to be ignored */
      type: string;
      versionId: string | null;
    } & {
      [key: string]: unknown;
    };
    /** @description Some events, in their order */
    EventPage: {
      events: components['schemas']['Event'][];
      /** @description Set where the events after the cursor are gone: read the present state, then go on at nextCursor */
      gap: {
        cursor: string;
        /**
         * @description They were older than events are kept; or the database went back to before them
         * @enum {string}
         */
        reason: 'trimmed' | 'ahead';
        /** @constant */
        type: 'gap';
      } | null;
      /** @description Whether there are more already */
      hasMore: boolean;
      /** @description Where to go on, also when there are no more yet */
      nextCursor: string;
    };
    /**
     * @description Which case it is
     * @enum {string}
     */
    FailureCode:
      | 'INTERNAL'
      | 'INVALID_INPUT'
      | 'INVALID_CONFIG'
      | 'PROMPT_FAILED'
      | 'ACTIVITY_STEP_FAILED'
      | 'PROJECT_NOT_FOUND'
      | 'VERSION_NOT_FOUND'
      | 'VERSION_OF_ANOTHER_PROJECT'
      | 'CHAIN_NOT_FOUND'
      | 'REQUEST_LOST'
      | 'DATABASE_WENT_BACK'
      | 'CHAIN_TERMINATED'
      | 'CHAT_NOT_FOUND'
      | 'CHAT_BUSY'
      | 'MESSAGE_ID_REUSED'
      | 'KEY_REUSED'
      | 'KEY_NOT_FOUND'
      | 'WORKSPACE_NOT_ALLOWED'
      | 'WORKSPACE_CHANGED'
      | 'WORKSPACE_TAKEN'
      | 'PROJECT_BUSY'
      | 'PROJECT_QUEUE_FULL'
      | 'HOLDER_ENDING'
      | 'SESSION_NOT_IN_STORE'
      | 'SESSION_ARCHIVED'
      | 'ARCHIVE_NOT_CONFIGURED'
      | 'ARCHIVE_UNAVAILABLE'
      | 'ARCHIVE_DAMAGED'
      | 'RUN_NOT_FOUND'
      | 'NOT_IN_ARCHIVE'
      | 'SESSION_DIFFERS'
      | 'PROJECT_ON_HOLD'
      | 'PROJECT_BEING_ERASED'
      | 'ERASURE_NOT_FOUND'
      | 'SESSION_IN_USE'
      | 'SESSION_ALREADY_KNOWN'
      | 'TRANSCRIPT_NOT_FOUND'
      | 'TRANSCRIPT_UNREADABLE'
      | 'TRANSCRIPT_EXISTS'
      | 'WAIT_TIMED_OUT'
      | 'FENCED'
      | 'AGENT_NOT_FOUND'
      | 'SANDBOX_UNAVAILABLE'
      | 'AGENT_FAILED'
      | 'CREDENTIALS_MISSING'
      | 'MODEL_REJECTED'
      | 'MODEL_UNAUTHORIZED'
      | 'MODEL_REFUSED'
      | 'ANSWER_UNFINISHED'
      | 'CONTEXT_FULL'
      | 'MODEL_UNAVAILABLE'
      | 'STORE_REFUSED'
      | 'SUBMISSION_INVALID'
      | 'COMPACTION_FAILED'
      | 'BUDGET_EXCEEDED'
      | 'STEP_TIMED_OUT'
      | 'SANDBOX_LIMIT'
      | 'WORKER_LOST'
      | 'CANCELLED'
      | 'PAYLOAD_UNKNOWN'
      | 'OTHER_INSTALLATION'
      | 'INSTALLATION_IN_USE'
      | 'DATABASE_UNAVAILABLE'
      | 'DATABASE_REFUSED'
      | 'MIGRATIONS_BEHIND'
      | 'MIGRATION_FAILED'
      | 'TEMPORAL_UNAVAILABLE'
      | 'CLIENT_CLOSED'
      | 'TEMPORAL_REFUSED'
      | 'SEARCH_ATTRIBUTES_NOT_REGISTERED'
      | 'TEMPORAL_CLI_NOT_FOUND'
      | 'POSTGRES_NOT_FOUND'
      | 'SERVER_START_FAILED'
      | 'STATE_DIR_BUSY';
    FencedAttempts: {
      attempts: {
        attempt: number;
        attemptId: string;
        /** @description Of a chain its build; outside a chain it names the operation */
        buildId: string;
        /**
         * @description FENCED: it was rejected; WORKER_LOST: it was not seen to end
         * @enum {string}
         */
        code: 'FENCED' | 'WORKER_LOST';
        /**
         * Format: date-time
         * @description ISO 8601, UTC
         */
        endedAt: string;
        isOfChain: boolean;
        /** @description The next attempt of the same operation */
        next: {
          attempt: number;
          /** @enum {string} */
          state: 'running' | 'waiting' | 'failed' | 'committed';
          worker: string;
        } | null;
        projectId: string;
        /** @description Why, for people */
        reason: string;
        round: number;
        /** @description The id of a Claude session */
        sessionId: string;
        /**
         * Format: date-time
         * @description ISO 8601, UTC
         */
        startedAt: string;
        step: string;
        versionId: string | null;
        /** @description The process that ran it, as pid@host */
        worker: string;
      }[];
      /** @description `cursor` of the next page; null on the last one */
      nextCursor: string | null;
    };
    Finding: {
      /** @description As `session-chain doctor` names it */
      check: string;
      message: string;
      /** @description What to do; null where nothing is to be done */
      remedy: string | null;
      /** @enum {string} */
      status: 'ok' | 'warn' | 'fail';
    };
    GroupedSpend: {
      attempts: number;
      attemptsOfUnknownCost: number;
      /** @description US dollars */
      costUsd: number;
      /** @description A day (UTC), a step, a model or a project */
      key: string;
      turns: number | null;
      usage: {
        cacheReadTokens: number;
        cacheWriteTokens: number;
        /** @description Tokens that were neither read from nor written to the prompt cache */
        inputTokens: number;
        outputTokens: number;
      };
    };
    /** @description A project's latest session */
    Head: {
      /** @description The number of the transition that made it the head; null before the first */
      seq: number | null;
      /** @description The project's latest session; null for none */
      sessionId: string | null;
    };
    Hold: {
      /** @description The legal hold; null for none */
      hold: {
        by: string;
        reason: string;
        /**
         * Format: date-time
         * @description ISO 8601, UTC
         */
        since: string;
      } | null;
      projectId: string;
      /** @description Until when retention leaves the project alone because something of it was restored */
      restoredUntil: string | null;
    };
    /** @description The keys of the server, the newest first */
    Keys: {
      keys: components['schemas']['ApiKey'][];
    };
    LateEnds: {
      ends: {
        buildId: string;
        chainId: string;
        /** @description When the activity of the host succeeded; null until then */
        deliveredAt: string | null;
        /** @description When the next round begins at the latest; null once it is delivered */
        dueAt: string | null;
        /**
         * Format: date-time
         * @description ISO 8601, UTC
         */
        endedAt: string;
        /** @description The event chain.closed */
        eventId: number;
        /** @description Why the last round of calls failed */
        failure: string | null;
        failureCode: components['schemas']['FailureCode'] | null;
        /**
         * Format: uuid
         * @description The same at every call for this end
         */
        key: string;
        projectId: string;
        /** @description How often calls for it began */
        rounds: number;
        seq: number | null;
        /** @description The project's head as the chain left it */
        sessionId: string | null;
        /** @enum {string} */
        status: 'completed' | 'completed_with_warnings' | 'failed' | 'cancelled' | 'budget_exceeded';
        steps: string[];
        versionId: string;
      }[];
      /** @description `cursor` of the next page; null on the last one */
      nextCursor: string | null;
    };
    Login: {
      /**
       * Format: date-time
       * @description Until when the cookie counts, if its key does
       */
      expiresAt: string;
    };
    Logout: {
      /** @description Whether there was a login */
      ended: boolean;
    };
    /** @description Why a call was refused or failed (RFC 9457) */
    Problem: {
      /**
       * @description What kind of failure it is
       * @enum {string}
       */
      category?:
        | 'input'
        | 'not_found'
        | 'conflict'
        | 'setup'
        | 'model'
        | 'agent'
        | 'budget'
        | 'unavailable'
        | 'ended'
        | 'internal';
      /** @description Absent for an answer of HTTP alone */
      code?: components['schemas']['FailureCode'];
      /** @description What happened, where */
      detail: string;
      /** @description Each field that is wrong */
      errors?: {
        /** @description JSON pointer of the field */
        at: string;
        /** @description `body`, `params`, `querystring` or `headers` */
        in: string;
        message: string;
      }[];
      /** @description What to do */
      remedy: string;
      /** @description Whether the same call may succeed later */
      retryable: boolean;
      /** @description When to try again, in ms, where it is known */
      retryAfterMs?: number;
      /** @description The HTTP status */
      status: number;
      /** @description The name of the status */
      title: string;
      /** @description `about:blank`, or the address of what is documented of the failure */
      type: string;
    };
    Project: {
      attemptsOfUnknownCost: number;
      /** @description US dollars */
      costUsd: number;
      head: components['schemas']['Head'];
      headMovedAt: string | null;
      /** @description Whether the newest version names the head */
      inSync: boolean | null;
      lastChain: {
        buildId: string;
        closedAt: string | null;
        /**
         * Format: date-time
         * @description ISO 8601, UTC
         */
        createdAt: string;
        failureCode: components['schemas']['FailureCode'] | null;
        projectId: string;
        /** @enum {string} */
        status:
          | 'queued'
          | 'running'
          | 'waiting'
          | 'completed'
          | 'completed_with_warnings'
          | 'failed'
          | 'cancelled'
          | 'budget_exceeded';
        versionId: string;
      } | null;
      openChains: number;
      projectId: string;
      reasons: (
        | 'version_not_opened'
        | 'chain_on_older_version'
        | 'head_moved_outside'
        | 'version_row_differs'
        | 'broken_lineage'
        | 'checkpoint_differs'
      )[];
      /** @description Its newest version */
      versionId: string | null;
    };
    /** @description A page of projects */
    ProjectPage: {
      /** @description `cursor` of the next page; null on the last one */
      nextCursor: string | null;
      projects: components['schemas']['Project'][];
    };
    ProjectSpend: {
      attempts: number;
      attemptsOfUnknownCost: number;
      /** @description By model; a cost is null where one of its attempts is of unknown cost */
      byModel: {
        [key: string]: {
          cacheReadTokens: number;
          cacheWriteTokens: number;
          costUsd: number | null;
          /** @description Tokens that were neither read from nor written to the prompt cache */
          inputTokens: number;
          outputTokens: number;
        };
      };
      /** @description US dollars, as far as they are known */
      costUsd: number;
      /** @description Sum of the attempts' durations, without the time between them */
      durationMs: number;
      /** @description With `by` */
      groups?: components['schemas']['GroupedSpend'][];
      /** @description Model turns */
      turns: number;
      /** @description Attempts that were stopped or died in a turn, which is in no figure */
      turnsInFlightUnknown: number;
      usage: {
        cacheReadTokens: number;
        cacheWriteTokens: number;
        /** @description Tokens that were neither read from nor written to the prompt cache */
        inputTokens: number;
        outputTokens: number;
      };
    };
    ProjectStorage: {
      /** @description Files of the archive that were read back */
      archive: {
        /** @description Bytes */
        bytes: number;
        files: number;
      };
      /** @description Its rows, without indexes and free space */
      bytes: number;
      /** @description Of transcripts, about; null where no living worker has an archive */
      freeable: {
        /** @description Once the period of what is archived is over */
        later: number;
        /** @description In the next run of retention */
        now: number;
      } | null;
      /** @description What transcripts grow by per day, about */
      growthPerDay: {
        /** @description Bytes */
        last7Days: number;
        /** @description Bytes */
        last30Days: number;
      };
      kinds: {
        [key: string]: {
          /** @description Bytes */
          bytes: number;
          rows: number;
        };
      };
      /** @description Why retention leaves it alone; null where it does not */
      leftAlone: ('hold' | 'restored' | 'being_erased') | null;
      projectId: string;
    };
    Question: {
      answeredAt: string | null;
      aside: boolean;
      /**
       * Format: date-time
       * @description ISO 8601, UTC
       */
      askedAt: string;
      chatId: string;
      failure: {
        code: components['schemas']['FailureCode'];
        /** @description What happened */
        message: string;
        /** @description What to do */
        remedy: string;
      } | null;
      /** @description The head as the question found it */
      headSessionId: string | null;
      /** @description Whether the answer moved the head; null until it is answered */
      kind: ('transition' | 'side_branch') | null;
      /** @description The caller's key of the question */
      messageId: string;
      projectId: string;
      question: string;
      questionId: string;
      /** @description Null until it is answered */
      reply: string | null;
      /** @description The session that holds question and reply */
      sessionId: string | null;
      /** @enum {string} */
      state: 'asked' | 'running' | 'answered' | 'failed';
      /** @enum {string} */
      when: 'now' | 'after_step' | 'committed';
    };
    /** @description Questions of a chat, oldest first */
    QuestionPage: {
      /** @description `cursor` of the page with older ones; null on the last one */
      nextCursor: string | null;
      questions: components['schemas']['Question'][];
    };
    Reconciled: {
      /** @description Until the lease of an agent whose chain is gone has expired */
      endingInMs: number | null;
      /** @description Workflow ids of the chains that were closed, or would be with dryRun */
      released: string[];
    };
    RecordedSession: {
      /** @description The session was the head already; this call wrote nothing */
      alreadyRecorded: boolean;
      /** @description A chain can continue from it */
      inStore: boolean;
      /** @description The id of a Claude session */
      newSessionId: string;
      oldSessionId: string | null;
      projectId: string;
      seq: number;
      source: string;
      versionId: string | null;
      warnings: string[];
    };
    Recovered: {
      askedSessionId: string | null;
      /** @description The session was the head and was given up, or would be without dryRun */
      givenUp: boolean;
      /** @enum {string} */
      outcome: 'valid' | 'ancestor' | 'fresh';
      problem: {
        detail: string;
        /** @enum {string} */
        reason: 'quarantined' | 'archived' | 'hole' | 'lost' | 'unknown';
        /** @constant */
        valid: false;
      } | null;
      projectId: string;
      /** @description What to continue from; null for a fresh session */
      sessionId: string | null;
      warning: string | null;
    };
    Released: {
      /** @description The legal hold; null for none */
      hold: {
        by: string;
        reason: string;
        /**
         * Format: date-time
         * @description ISO 8601, UTC
         */
        since: string;
      } | null;
      projectId: string;
      /** @description False where there was no hold */
      released: boolean;
      /** @description Until when retention leaves the project alone because something of it was restored */
      restoredUntil: string | null;
    };
    Restoration: {
      endedAt: string | null;
      failure: {
        code: components['schemas']['FailureCode'];
        /** @description What happened */
        message: string;
        /** @description What to do */
        remedy: string;
      } | null;
      projectId: string;
      /** @description Null until it is finished */
      restored: {
        /** @description Attempts with what they spent, and briefs */
        details: number;
        /** @description Entries of their main conversations */
        entries: number;
        /** @description Files of the archive that were read */
        files: number;
        /**
         * Format: date-time
         * @description Until when retention leaves the project alone
         */
        keptUntil: string;
        /** @description What the archive has, and what this database has no place for */
        left: {
          details: number;
          transitions: number;
        };
        projectId: string;
        /** @description Sessions that were brought back; those that were here are not counted */
        sessions: number;
        /** @description Transitions that are in `session_transitions` again */
        transitions: number;
      } | null;
      /**
       * Format: date-time
       * @description ISO 8601, UTC
       */
      startedAt: string;
      /** @enum {string} */
      state: 'running' | 'finished' | 'failed';
    };
    RetentionPolicy: {
      /** @description file:///… or s3://bucket/prefix; null for none: then only transitions move */
      archive: string | null;
      /** @description Days after which failed attempts, metrics and briefs are archived */
      detailsDays: number;
      /** @description Days after which an archived one is dropped from the database */
      dropDays: number;
      /** @description Whether rows may be deleted from tables that the host created */
      hostTables: boolean;
      /** @description Days after which a transcript that nothing needs is archived */
      transcriptsDays: number;
      /** @description Days after which transitions leave session_transitions */
      transitionsDays: number;
    };
    RetentionRun: {
      dryRun: boolean;
      /**
       * Format: date-time
       * @description ISO 8601, UTC
       */
      endedAt: string;
      /** @description Why it ended before it had looked at every project */
      failure: {
        code: components['schemas']['FailureCode'];
        /** @description What happened */
        message: string;
        /** @description What to do */
        remedy: string;
      } | null;
      policy: components['schemas']['RetentionPolicy'];
      /** @description Of which something is due, 1,000 at most */
      projects: {
        /** @description Sessions that were written to the archive and read back */
        archivedSessions: number;
        /** @description Metrics that were rolled up, failed attempts and briefs that were dropped */
        details: number;
        /** @description Sessions that were dropped from the database */
        droppedSessions: number;
        /** @description Why the run gave up on it; the next run goes on */
        failure: {
          code: components['schemas']['FailureCode'];
          /** @description What happened */
          message: string;
          /** @description What to do */
          remedy: string;
        } | null;
        /** @description What their texts took, about */
        freedBytes: number;
        /** @description Why less was done than the policy asks for */
        leftAlone: ('hold' | 'restored' | 'being_erased' | 'host_tables' | 'no_archive') | null;
        projectId: string;
        /** @description Transitions that left session_transitions */
        transitions: number;
      }[];
      /**
       * Format: date-time
       * @description ISO 8601, UTC
       */
      startedAt: string;
      total: {
        /** @description Sessions that were written to the archive and read back */
        archivedSessions: number;
        /** @description Metrics that were rolled up, failed attempts and briefs that were dropped */
        details: number;
        /** @description Sessions that were dropped from the database */
        droppedSessions: number;
        /** @description Those of them on which the run gave up */
        failed: number;
        /** @description What their texts took, about */
        freedBytes: number;
        /** @description Of which something was due */
        projects: number;
        /** @description Transitions that left session_transitions */
        transitions: number;
      };
    };
    RetentionRunState: {
      dryRun: boolean;
      endedAt: string | null;
      failure: {
        code: components['schemas']['FailureCode'];
        /** @description What happened */
        message: string;
        /** @description What to do */
        remedy: string;
      } | null;
      /** @description A uuid, or of a run of the schedule its time */
      id: string;
      /** @description The only project; null for all */
      projectId: string | null;
      /** @description Null until it is finished */
      result: components['schemas']['RetentionRun'] | null;
      /** @description Whether the schedule started it */
      scheduled: boolean;
      /**
       * Format: date-time
       * @description ISO 8601, UTC
       */
      startedAt: string;
      /** @enum {string} */
      state: 'running' | 'finished' | 'failed';
      workflowId: string;
    };
    RetentionStatus: {
      /** @description The last over all projects that ended, dry runs apart; null for none */
      lastRun: components['schemas']['RetentionRunState'] | null;
      /** @description Files of the archive */
      parts: {
        /** @description Of the verified ones */
        bytes: number;
        lastVerifiedAt: string | null;
        /** @description Begun and not read back yet */
        planned: number;
        verified: number;
      };
      /** @description Of the living workers, that of most workers first */
      policies: {
        policy: components['schemas']['RetentionPolicy'];
        workers: string[];
      }[];
      running: components['schemas']['RetentionRunState'][];
      /** @description Null where none is installed */
      schedule: {
        /** @description Between its next two runs; null where Temporal does not tell */
        betweenMs: number | null;
        /** @description As it was installed */
        every: string;
        /**
         * Format: date-time
         * @description ISO 8601, UTC
         */
        installedAt: string;
        /** @description Times at which it did not start, because Temporal was away */
        missed: number;
        /** @description Null while it is paused */
        nextAt: string | null;
        paused: boolean;
      } | null;
    };
    Rewound: {
      /** @description The same key was used before; this call wrote nothing */
      alreadyRewound: boolean;
      /** @description The operations that the head does not know any more, oldest first */
      forgotten: {
        /**
         * Format: date-time
         * @description ISO 8601, UTC
         */
        createdAt: string;
        seq: number;
        source: string;
        versionId: string | null;
      }[];
      projectId: string;
      /** @description The copy, which became the head; null of a dry run */
      sessionId: string | null;
      /** @description The session that was copied */
      sourceSessionId: string;
      toSeq: number;
      /** @description The transition that made it the head, or would */
      transitionSeq: number;
      versionId: string | null;
      warnings: string[];
    };
    /** @description What attempts that ended without a commit had spent on work that a later attempt used, so that it was not paid again */
    Saved: {
      /** @description Attempts that had finished their work, which was committed as it was */
      adopted: number;
      attemptsOfUnknownCost: number;
      /** @description Attempts that had begun their work, which the next one continued */
      continued: number;
      /** @description US dollars that these attempts had spent, as far as they are known */
      costUsd: number;
      /** @description Model turns that were not asked for again */
      turns: number;
    };
    /** @description What answers, and for whom */
    Server: {
      key: {
        /** @description Its projects; null: every project */
        projects: string[] | null;
        /**
         * @description What the key of the request may do
         * @enum {string}
         */
        scope: 'read' | 'start' | 'admin';
      };
      /** @description The namespace in Temporal */
      namespace: string;
      /** @description Address of Temporal's Web UI, where it is configured */
      temporalUi: string | null;
      /** @description Of the package session-chain */
      version: string;
    };
    /** @description A session, and what wrote it */
    Session: {
      /** @description The attempt that committed it in place of its own session */
      adoptedBy: {
        attemptId: string;
        /** @description The id of a Claude session */
        sessionId: string;
      } | null;
      /** @description When its last entry was stored */
      appendedAt: string | null;
      /** @description The attempt that wrote it; null for a session that is not in the journal */
      attempt: {
        attempt: number;
        attemptId: string;
        /** @description Null outside a chain */
        buildId: string | null;
        /** @description US dollars; null while it runs and where unknown */
        costUsd: number | null;
        endedAt: string | null;
        failure: {
          code: components['schemas']['FailureCode'];
          /** @description What happened */
          message: string;
          /** @description What to do */
          remedy: string;
        } | null;
        model: string | null;
        /** @description The question that it answers */
        question: {
          chatId: string;
          messageId: string;
        } | null;
        round: number;
        /**
         * Format: date-time
         * @description ISO 8601, UTC
         */
        startedAt: string;
        /** @enum {string} */
        state: 'running' | 'waiting' | 'failed' | 'committed';
        /** @description The step of a chain, or the source of an operation outside one */
        step: string;
        turns: number | null;
        /** @description Its own tokens; null while it runs */
        usage: {
          cacheReadTokens: number;
          cacheWriteTokens: number;
          /** @description Tokens that were neither read from nor written to the prompt cache */
          inputTokens: number;
          outputTokens: number;
        } | null;
        /** @description Null outside a chain */
        versionId: string | null;
      } | null;
      /**
       * @description Of its transcript: `whole`, a step can continue from it; `hole`, entries are missing; `quarantined`, a step could not load it; `archived`, it is in the archive alone, and a step restores it first; `lost`, nothing of it is in the store any more; `unknown`, nothing of it ever was
       * @enum {string}
       */
      condition: 'whole' | 'hole' | 'quarantined' | 'archived' | 'lost' | 'unknown';
      /** @description Tokens in its context at its end */
      contextTokens: number;
      createdAt: string | null;
      /** @description Entries of its main conversation */
      entries: number;
      /** @description The sessions that forked it, the newest first, at most 100 */
      forks: {
        /** @description The id of a Claude session */
        sessionId: string;
        step: string | null;
      }[];
      isHead: boolean;
      /** @description The session that it forked; null for a fresh one and where that is unknown */
      parentSessionId: string | null;
      projectId: string;
      quarantineReason: string | null;
      /** @description The id of a Claude session */
      sessionId: string;
      /** @description The last one that made it the head; null where none did */
      transition: {
        /**
         * Format: date-time
         * @description ISO 8601, UTC
         */
        at: string;
        seq: number;
        source: string;
      } | null;
    };
    SessionIds: {
      sessionIds: string[];
    };
    SpendGroups: {
      groups: components['schemas']['GroupedSpend'][];
    };
    StartedChain: {
      /** @description The chain was running or completed already: nothing was started */
      alreadyStarted: boolean;
      buildId: string;
      projectId: string;
      /** @description How the chain ended, if it has */
      result: components['schemas']['ChainState'] | null;
      /** @enum {string} */
      status:
        | 'queued'
        | 'running'
        | 'waiting'
        | 'completed'
        | 'completed_with_warnings'
        | 'failed'
        | 'cancelled'
        | 'budget_exceeded';
      versionId: string;
      workflowId: string;
    };
    StepDetails: {
      /** @description Attempts so far */
      attempts: number;
      /** @description The calls of an activity of the host, oldest first */
      calls: {
        activity: string;
        endedAt: string | null;
        round: number;
        /**
         * Format: date-time
         * @description ISO 8601, UTC
         */
        startedAt: string;
        /** @enum {string} */
        state: 'running' | 'completed' | 'failed' | 'cancelled';
        taskQueue: string;
      }[];
      /** @description US dollars of all attempts, as far as they are known */
      costUsd: number;
      durationMs: number;
      endedAt: string | null;
      failure?: {
        code: components['schemas']['FailureCode'];
        /** @description What happened */
        message: string;
        /** @description What to do */
        remedy: string;
      };
      /** @description The files that its file tools wrote */
      files: string[];
      /** @description Its attempts, oldest first */
      journal: components['schemas']['Attempt'][];
      /** @enum {string} */
      kind: 'work' | 'submission' | 'compaction' | 'activity';
      newSessionId: string | null;
      oldSessionId: string | null;
      /** @description Why it was skipped, or what it waits for */
      reason?: string;
      /** @description The model's last message */
      reply: string | null;
      /** @enum {string} */
      role?: 'build' | 'deploy';
      saved: components['schemas']['Saved'];
      startedAt: string | null;
      /** @enum {string} */
      status:
        'pending' | 'running' | 'waiting' | 'committed' | 'completed' | 'skipped' | 'failed' | 'cancelled';
      /** @description The name of the step */
      step: string;
      /** @description Model turns of all attempts */
      turns: number;
      usage: {
        cacheReadTokens: number;
        cacheWriteTokens: number;
        /** @description Tokens that were neither read from nor written to the prompt cache */
        inputTokens: number;
        outputTokens: number;
      };
      /** @description The submitted value */
      value?: {
        [key: string]: unknown;
      };
    };
    Storage: {
      /** @description Files of the archive that were read back */
      archive: {
        /** @description Bytes */
        bytes: number;
        files: number;
      };
      /** @description The tables with their indexes and free space */
      bytes: number;
      /** @description Of transcripts, about; null where no living worker has an archive */
      freeable: {
        /** @description Once the period of what is archived is over */
        later: number;
        /** @description In the next run of retention */
        now: number;
      } | null;
      /** @description What transcripts grow by per day, about */
      growthPerDay: {
        /** @description Bytes */
        last7Days: number;
        /** @description Bytes */
        last30Days: number;
      };
      /** @description Whether projects, growth and what is freed come from samples */
      isEstimate: boolean;
      kinds: {
        [key: string]: {
          /** @description Bytes */
          bytes: number;
          rows: number;
        };
      };
      /** @description Those that take most */
      projects: {
        /** @description Bytes */
        bytes: number;
        projectId: string;
      }[];
    };
    SyncReport: {
      checkpoints:
        | {
            compared: number;
            malformed: number;
            /** @constant */
            status: 'compared';
          }
        | {
            /** @enum {string} */
            status: 'off' | 'unavailable';
          };
      drifted: {
        /** @description The id of a Claude session */
        head: string;
        inSync: boolean;
        projectId: string;
        reasons: (
          | 'version_not_opened'
          | 'chain_on_older_version'
          | 'head_moved_outside'
          | 'version_row_differs'
          | 'broken_lineage'
          | 'checkpoint_differs'
        )[];
        versionId: string | null;
        versionSession: string | null;
      }[];
      /** @description Those whose newest version names the head */
      inSync: number;
      /** @description There are more drifted projects than `limit` */
      more: boolean;
      /** @description Projects that have a head and a version */
      projects: number;
      /** @description inSync / projects; null where there are none */
      share: number | null;
      withoutVersion: number;
    };
    TaskQueue: {
      /** @description Tasks that no worker has taken yet, about; null where it is not counted */
      backlog: number | null;
      /** @enum {string} */
      kind: 'workflow' | 'activity';
      /** @description How long the oldest of them has waited, in ms */
      oldestAgeMs: number | null;
      /** @description Workers that poll it; one with all its slots taken does not */
      pollers: number;
      /** @description A task queue in Temporal */
      taskQueue: string;
    };
    /** @description Where the time of a chain went */
    Timeline: {
      /**
       * Format: date-time
       * @description When this was read; spans without an end last at least until then
       */
      at: string;
      attempts: {
        attempt: number;
        attemptId: string;
        round: number;
        spans: {
          /** @description How many spans it stands for */
          count: number;
          /** @description Null while it lasts */
          endedAt: string | null;
          /** @description The entry of the transcript with which it began */
          entryId: string | null;
          /**
           * @description queued: until it held its project; opening: until its first step was scheduled; worker: a step was scheduled, until an attempt began; retry: from a failed attempt until the next was scheduled; waiting: for the model service or a worker, by a timer; start: Claude Code started; model: the model answered; tool: tools ran; compaction: the conversation was summarised; end: until the end of an attempt was recorded; lost: from the last sign of life until the lease had expired; call: an activity of the host ran; closing: until the chain was closed
           * @enum {string}
           */
          kind:
            | 'queued'
            | 'opening'
            | 'worker'
            | 'retry'
            | 'waiting'
            | 'start'
            | 'model'
            | 'tool'
            | 'compaction'
            | 'end'
            | 'lost'
            | 'call'
            | 'closing';
          /** @description The tools, the code that it waited for, or the activity */
          label: string;
          /**
           * Format: date-time
           * @description ISO 8601, UTC
           */
          startedAt: string;
        }[];
        step: string;
        /** @description Ms by kind, as exact as before spans were merged */
        totalsMs: {
          [key: string]: number;
        };
      }[];
      /** @description Short spans were merged, to keep the answer small */
      isMerged: boolean;
      /** @description Each time that the chain was asked for, the oldest first */
      runs: {
        closedAt: string | null;
        openedAt: string | null;
        /**
         * Format: date-time
         * @description ISO 8601, UTC
         */
        queuedAt: string;
      }[];
      /** @description What is of no attempt; `step` is null where it is of no step */
      spans: {
        /** @description How many spans it stands for */
        count: number;
        /** @description Null while it lasts */
        endedAt: string | null;
        /** @description The entry of the transcript with which it began */
        entryId: string | null;
        /**
         * @description queued: until it held its project; opening: until its first step was scheduled; worker: a step was scheduled, until an attempt began; retry: from a failed attempt until the next was scheduled; waiting: for the model service or a worker, by a timer; start: Claude Code started; model: the model answered; tool: tools ran; compaction: the conversation was summarised; end: until the end of an attempt was recorded; lost: from the last sign of life until the lease had expired; call: an activity of the host ran; closing: until the chain was closed
         * @enum {string}
         */
        kind:
          | 'queued'
          | 'opening'
          | 'worker'
          | 'retry'
          | 'waiting'
          | 'start'
          | 'model'
          | 'tool'
          | 'compaction'
          | 'end'
          | 'lost'
          | 'call'
          | 'closing';
        /** @description The tools, the code that it waited for, or the activity */
        label: string;
        /**
         * Format: date-time
         * @description ISO 8601, UTC
         */
        startedAt: string;
        step: string | null;
      }[];
    };
    /** @description A move of the head */
    Transition: {
      /**
       * Format: date-time
       * @description ISO 8601, UTC
       */
      createdAt: string;
      /** @description The id of a Claude session */
      newSessionId: string;
      oldSessionId: string | null;
      /** @description What was forked; null for a fresh session */
      parentSessionId: string | null;
      /** @description Of a rewind: the number of the transition whose session it copied */
      rewoundTo: number | null;
      /** @description Its number; null for one from before Session Chain */
      seq: number | null;
      /** @description The step that moved the head, or a reserved source */
      source: string;
      step: string | null;
      versionId: string | null;
    };
    TransitionPage: {
      /** @description `cursor` of the next page; null on the last one */
      nextCursor: string | null;
      transitions: components['schemas']['Transition'][];
    };
    /** @description The sessions of a project */
    Tree: {
      chains: {
        buildId: string;
        chainId: string;
        closedAt: string | null;
        /**
         * Format: date-time
         * @description ISO 8601, UTC
         */
        createdAt: string;
        failureCode: components['schemas']['FailureCode'] | null;
        openedAt: string | null;
        /** @enum {string} */
        status:
          | 'queued'
          | 'running'
          | 'waiting'
          | 'completed'
          | 'completed_with_warnings'
          | 'failed'
          | 'cancelled'
          | 'budget_exceeded';
        versionId: string;
        /** @description Absolute path of the project's files, as the worker sees it */
        workspace: string;
      }[];
      headSessionId: string | null;
      /** @description Older heads were left out */
      isCut: boolean;
      nodes: {
        /** @description The finished session of an earlier attempt that it committed in place of its own */
        adopts: string | null;
        /** @description Counts the attempts of its operation */
        attempt: number | null;
        buildId: string | null;
        /** @description One of `chains`; null outside a chain */
        chainId: string | null;
        /**
         * @description A step can continue from a whole one; empty: nothing was written to it so far
         * @enum {string}
         */
        condition: 'whole' | 'quarantined' | 'archived' | 'hole' | 'lost' | 'unknown' | 'empty';
        /** @description Size of its context */
        contextTokens: number | null;
        /** @description US dollars that it cost itself; null where unknown */
        costUsd: number | null;
        /**
         * Format: date-time
         * @description ISO 8601, UTC
         */
        createdAt: string;
        endedAt: string | null;
        /** @description Of its main transcript, those of the session that it forked included */
        entries: number;
        failureCode: components['schemas']['FailureCode'] | null;
        /** @enum {string} */
        kind: 'head' | 'rewound' | 'side_branch' | 'attempt';
        oldSessionId: string | null;
        parentSessionId: string | null;
        /** @description The question that it was to answer */
        question: {
          chatId: string;
          messageId: string;
          questionId: string;
        } | null;
        rewoundTo: number | null;
        seq: number | null;
        /** @description The id of a Claude session */
        sessionId: string;
        source: string | null;
        state: ('running' | 'waiting' | 'failed' | 'committed') | null;
        step: string | null;
        stepKind: ('work' | 'submission' | 'compaction' | 'activity') | null;
        versionId: string | null;
      }[];
      projectId: string;
    };
    Unbound: {
      /** @description The folder that was released */
      path: string | null;
      projectId: string;
    };
    Worker: {
      agents: {
        /** @description How many may */
        max: number;
        /** @description Agents of steps that run now */
        running: number;
      };
      /** @description Of Claude Code; null where it did not tell */
      agentVersion: string | null;
      /** @description Seen within the last minute */
      alive: boolean;
      chats: {
        /** @description How many may */
        max: number;
        /** @description Answers that run now */
        running: number;
      };
      definition: {
        /** @description The same for workers whose chains are the same */
        digest: string;
        /** @description Where it was loaded from; null for no file */
        file: string | null;
      };
      /** @description The worker deployment of Temporal whose version the release is; null for none */
      deployment: string | null;
      host: string;
      /** @description Made at its start; a process may run several workers */
      id: string;
      /** @description Its process, as <pid>-<8 hex>@<hostname> */
      identity: string;
      limits: components['schemas']['WorkerLimits'];
      /** @description In Temporal */
      namespace: string;
      /** @description Claude Code processes that wait for the next task of their chain or chat */
      parked: number;
      /** @description To Temporal its build id */
      release: string;
      /**
       * @description How its agents are kept in
       * @enum {string}
       */
      sandbox: 'bwrap' | 'command' | 'none';
      /** @description Of the Claude Agent SDK */
      sdkVersion: string;
      /**
       * Format: date-time
       * @description When it was seen last; it says so every 15 s
       */
      seenAt: string;
      /**
       * Format: date-time
       * @description ISO 8601, UTC
       */
      startedAt: string;
      /** @description For chains, agents and chats */
      taskQueues: string[];
      /** @description Of the package session-chain */
      version: string;
    };
    WorkerLimits: {
      /** @description Days after which it deletes events */
      eventsDays: number;
      /** @description Milliseconds */
      heartbeatThrottleMs: number;
      /** @description Agents of steps at the same time */
      maxAgents: number;
      /** @description Answers at the same time */
      maxChats: number;
      retention: components['schemas']['RetentionPolicy'];
      /** @description What a stopping worker gives its running steps, in ms */
      shutdownGraceMs: number;
      /** @description Whether tasks go on in the process of the one before */
      warm: boolean;
      /** @description After which an operation fails whose folder no worker has, in ms */
      workspaceWaitMs: number;
    };
    Workers: {
      /** @description Null where Temporal does not answer */
      queues: components['schemas']['TaskQueue'][] | null;
      /** @description Those that were seen within a day, the living first; one that stopped in order is not there */
      workers: components['schemas']['Worker'][];
    };
  };
  responses: {
    /** @description The request is not valid; `errors` names each field */
    Problem400: {
      headers: {
        [name: string]: unknown;
      };
      content: {
        'application/problem+json': components['schemas']['Problem'];
      };
    };
    /** @description No key, or one that is not valid */
    Problem401: {
      headers: {
        [name: string]: unknown;
      };
      content: {
        'application/problem+json': components['schemas']['Problem'];
      };
    };
    /** @description The key's scope does not allow this */
    Problem403: {
      headers: {
        [name: string]: unknown;
      };
      content: {
        'application/problem+json': components['schemas']['Problem'];
      };
    };
    /** @description It does not exist, or the key may not see it */
    Problem404: {
      headers: {
        [name: string]: unknown;
      };
      content: {
        'application/problem+json': components['schemas']['Problem'];
      };
    };
    /** @description It is in use, held, taken or over */
    Problem409: {
      headers: {
        [name: string]: unknown;
      };
      content: {
        'application/problem+json': components['schemas']['Problem'];
      };
    };
    /** @description The body is too large */
    Problem413: {
      headers: {
        [name: string]: unknown;
      };
      content: {
        'application/problem+json': components['schemas']['Problem'];
      };
    };
    /** @description The body is not JSON */
    Problem415: {
      headers: {
        [name: string]: unknown;
      };
      content: {
        'application/problem+json': components['schemas']['Problem'];
      };
    };
    /** @description Too many requests; Retry-After says when to go on */
    Problem429: {
      headers: {
        [name: string]: unknown;
      };
      content: {
        'application/problem+json': components['schemas']['Problem'];
      };
    };
    /** @description An unexpected error; the log of the server has it */
    Problem500: {
      headers: {
        [name: string]: unknown;
      };
      content: {
        'application/problem+json': components['schemas']['Problem'];
      };
    };
    /** @description Postgres or Temporal does not answer, or is not set up; Retry-After says when to try again */
    Problem503: {
      headers: {
        [name: string]: unknown;
      };
      content: {
        'application/problem+json': components['schemas']['Problem'];
      };
    };
  };
  parameters: never;
  requestBodies: never;
  headers: never;
  pathItems: never;
}
export interface operations {
  listChains: {
    parameters: {
      query?: {
        /** @description Also ask Temporal which task queues no worker polls, and which chains stand still */
        askTemporal?: boolean;
        buildId?: string;
        /** @description `nextCursor` of the page before */
        cursor?: string;
        /** @description Failed with this code */
        failureCode?:
          | 'INTERNAL'
          | 'INVALID_INPUT'
          | 'INVALID_CONFIG'
          | 'PROMPT_FAILED'
          | 'ACTIVITY_STEP_FAILED'
          | 'PROJECT_NOT_FOUND'
          | 'VERSION_NOT_FOUND'
          | 'VERSION_OF_ANOTHER_PROJECT'
          | 'CHAIN_NOT_FOUND'
          | 'REQUEST_LOST'
          | 'DATABASE_WENT_BACK'
          | 'CHAIN_TERMINATED'
          | 'CHAT_NOT_FOUND'
          | 'CHAT_BUSY'
          | 'MESSAGE_ID_REUSED'
          | 'KEY_REUSED'
          | 'KEY_NOT_FOUND'
          | 'WORKSPACE_NOT_ALLOWED'
          | 'WORKSPACE_CHANGED'
          | 'WORKSPACE_TAKEN'
          | 'PROJECT_BUSY'
          | 'PROJECT_QUEUE_FULL'
          | 'HOLDER_ENDING'
          | 'SESSION_NOT_IN_STORE'
          | 'SESSION_ARCHIVED'
          | 'ARCHIVE_NOT_CONFIGURED'
          | 'ARCHIVE_UNAVAILABLE'
          | 'ARCHIVE_DAMAGED'
          | 'RUN_NOT_FOUND'
          | 'NOT_IN_ARCHIVE'
          | 'SESSION_DIFFERS'
          | 'PROJECT_ON_HOLD'
          | 'PROJECT_BEING_ERASED'
          | 'ERASURE_NOT_FOUND'
          | 'SESSION_IN_USE'
          | 'SESSION_ALREADY_KNOWN'
          | 'TRANSCRIPT_NOT_FOUND'
          | 'TRANSCRIPT_UNREADABLE'
          | 'TRANSCRIPT_EXISTS'
          | 'WAIT_TIMED_OUT'
          | 'FENCED'
          | 'AGENT_NOT_FOUND'
          | 'SANDBOX_UNAVAILABLE'
          | 'AGENT_FAILED'
          | 'CREDENTIALS_MISSING'
          | 'MODEL_REJECTED'
          | 'MODEL_UNAUTHORIZED'
          | 'MODEL_REFUSED'
          | 'ANSWER_UNFINISHED'
          | 'CONTEXT_FULL'
          | 'MODEL_UNAVAILABLE'
          | 'STORE_REFUSED'
          | 'SUBMISSION_INVALID'
          | 'COMPACTION_FAILED'
          | 'BUDGET_EXCEEDED'
          | 'STEP_TIMED_OUT'
          | 'SANDBOX_LIMIT'
          | 'WORKER_LOST'
          | 'CANCELLED'
          | 'PAYLOAD_UNKNOWN'
          | 'OTHER_INSTALLATION'
          | 'INSTALLATION_IN_USE'
          | 'DATABASE_UNAVAILABLE'
          | 'DATABASE_REFUSED'
          | 'MIGRATIONS_BEHIND'
          | 'MIGRATION_FAILED'
          | 'TEMPORAL_UNAVAILABLE'
          | 'CLIENT_CLOSED'
          | 'TEMPORAL_REFUSED'
          | 'SEARCH_ATTRIBUTES_NOT_REGISTERED'
          | 'TEMPORAL_CLI_NOT_FOUND'
          | 'POSTGRES_NOT_FOUND'
          | 'SERVER_START_FAILED'
          | 'STATE_DIR_BUSY';
        /** @description Entries at most; default 50 */
        limit?: number;
        /** @description Asked for at this moment or later; ISO 8601 */
        since?: string;
        /** @description The status; repeated for several */
        status?: (
          | 'queued'
          | 'running'
          | 'waiting'
          | 'completed'
          | 'completed_with_warnings'
          | 'failed'
          | 'cancelled'
          | 'budget_exceeded'
        )[];
        /** @description Open, and without progress for longer than so many ms */
        stuckForMs?: number;
        versionId?: string;
        /** @description Open, and waiting for this; repeated for several */
        waitingFor?: ('queue' | 'worker' | 'model' | 'activity')[];
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ChainPage'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  countChains: {
    parameters: {
      query?: {
        /** @description ISO 8601; default: a day ago */
        since?: string;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ChainCounts'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  listDefinitions: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Definitions'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  getDoctor: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Doctor'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  listEvents: {
    parameters: {
      query?: {
        /** @description The cursor of the last event or item that was seen: what came after it follows; `0` for the oldest event that is kept, `now` for what comes */
        after?: string;
        /** @description Events at most; default 100 */
        limit?: number;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['EventPage'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  streamEvents: {
    parameters: {
      query?: {
        /** @description The cursor of the last event or item that was seen: what came after it follows; `0` for the oldest event that is kept, `now` for what comes */
        after?: string;
        /** @description Whether live entries and live text are shown. Default: true, except over all projects */
        live?: 'true' | 'false';
      };
      header?: {
        /** @description The cursor of the last event or item that was seen: what came after it follows; `0` for the oldest event that is kept, `now` for what comes */
        'last-event-id'?: string;
      };
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Server-sent events: `id` is a cursor, `event` a type, `data` JSON */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'text/event-stream': string;
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  listFencedAttempts: {
    parameters: {
      query?: {
        /** @description `nextCursor` of the page before */
        cursor?: string;
        /** @description Entries at most; default 50 */
        limit?: number;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['FencedAttempts'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  listLateEnds: {
    parameters: {
      query?: {
        /** @description `nextCursor` of the page before */
        cursor?: string;
        /** @description Entries at most; default 50 */
        limit?: number;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['LateEnds'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  listBrokenSessions: {
    parameters: {
      query?: {
        /** @description `nextCursor` of the page before */
        cursor?: string;
        /** @description Entries at most; default 50 */
        limit?: number;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['BrokenSessions'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  listKeys: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Keys'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  logIn: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': {
          /** @description A key of `session-chain keys create` */
          key: string;
        };
      };
    };
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Login'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      413: components['responses']['Problem413'];
      415: components['responses']['Problem415'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  logOut: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Logout'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      413: components['responses']['Problem413'];
      415: components['responses']['Problem415'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  listProjects: {
    parameters: {
      query?: {
        /** @description `nextCursor` of the page before */
        cursor?: string;
        /** @description Whether the newest version names the head */
        inSync?: boolean;
        /** @description Entries at most; default 50 */
        limit?: number;
        /** @description `moved`: the head that moved last comes first; default: id */
        order?: 'id' | 'moved';
        /** @description The id contains this, whatever its case */
        search?: string;
        /** @description The status of the newest chain; repeated for several */
        status?: (
          | 'queued'
          | 'running'
          | 'waiting'
          | 'completed'
          | 'completed_with_warnings'
          | 'failed'
          | 'cancelled'
          | 'budget_exceeded'
        )[];
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ProjectPage'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  getProject: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /** @example shop */
        projectId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Project'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  listProjectChains: {
    parameters: {
      query?: {
        /** @description Also ask Temporal which task queues no worker polls, and which chains stand still */
        askTemporal?: boolean;
        buildId?: string;
        /** @description `nextCursor` of the page before */
        cursor?: string;
        /** @description Failed with this code */
        failureCode?:
          | 'INTERNAL'
          | 'INVALID_INPUT'
          | 'INVALID_CONFIG'
          | 'PROMPT_FAILED'
          | 'ACTIVITY_STEP_FAILED'
          | 'PROJECT_NOT_FOUND'
          | 'VERSION_NOT_FOUND'
          | 'VERSION_OF_ANOTHER_PROJECT'
          | 'CHAIN_NOT_FOUND'
          | 'REQUEST_LOST'
          | 'DATABASE_WENT_BACK'
          | 'CHAIN_TERMINATED'
          | 'CHAT_NOT_FOUND'
          | 'CHAT_BUSY'
          | 'MESSAGE_ID_REUSED'
          | 'KEY_REUSED'
          | 'KEY_NOT_FOUND'
          | 'WORKSPACE_NOT_ALLOWED'
          | 'WORKSPACE_CHANGED'
          | 'WORKSPACE_TAKEN'
          | 'PROJECT_BUSY'
          | 'PROJECT_QUEUE_FULL'
          | 'HOLDER_ENDING'
          | 'SESSION_NOT_IN_STORE'
          | 'SESSION_ARCHIVED'
          | 'ARCHIVE_NOT_CONFIGURED'
          | 'ARCHIVE_UNAVAILABLE'
          | 'ARCHIVE_DAMAGED'
          | 'RUN_NOT_FOUND'
          | 'NOT_IN_ARCHIVE'
          | 'SESSION_DIFFERS'
          | 'PROJECT_ON_HOLD'
          | 'PROJECT_BEING_ERASED'
          | 'ERASURE_NOT_FOUND'
          | 'SESSION_IN_USE'
          | 'SESSION_ALREADY_KNOWN'
          | 'TRANSCRIPT_NOT_FOUND'
          | 'TRANSCRIPT_UNREADABLE'
          | 'TRANSCRIPT_EXISTS'
          | 'WAIT_TIMED_OUT'
          | 'FENCED'
          | 'AGENT_NOT_FOUND'
          | 'SANDBOX_UNAVAILABLE'
          | 'AGENT_FAILED'
          | 'CREDENTIALS_MISSING'
          | 'MODEL_REJECTED'
          | 'MODEL_UNAUTHORIZED'
          | 'MODEL_REFUSED'
          | 'ANSWER_UNFINISHED'
          | 'CONTEXT_FULL'
          | 'MODEL_UNAVAILABLE'
          | 'STORE_REFUSED'
          | 'SUBMISSION_INVALID'
          | 'COMPACTION_FAILED'
          | 'BUDGET_EXCEEDED'
          | 'STEP_TIMED_OUT'
          | 'SANDBOX_LIMIT'
          | 'WORKER_LOST'
          | 'CANCELLED'
          | 'PAYLOAD_UNKNOWN'
          | 'OTHER_INSTALLATION'
          | 'INSTALLATION_IN_USE'
          | 'DATABASE_UNAVAILABLE'
          | 'DATABASE_REFUSED'
          | 'MIGRATIONS_BEHIND'
          | 'MIGRATION_FAILED'
          | 'TEMPORAL_UNAVAILABLE'
          | 'CLIENT_CLOSED'
          | 'TEMPORAL_REFUSED'
          | 'SEARCH_ATTRIBUTES_NOT_REGISTERED'
          | 'TEMPORAL_CLI_NOT_FOUND'
          | 'POSTGRES_NOT_FOUND'
          | 'SERVER_START_FAILED'
          | 'STATE_DIR_BUSY';
        /** @description Entries at most; default 50 */
        limit?: number;
        /** @description Asked for at this moment or later; ISO 8601 */
        since?: string;
        /** @description The status; repeated for several */
        status?: (
          | 'queued'
          | 'running'
          | 'waiting'
          | 'completed'
          | 'completed_with_warnings'
          | 'failed'
          | 'cancelled'
          | 'budget_exceeded'
        )[];
        /** @description Open, and without progress for longer than so many ms */
        stuckForMs?: number;
        versionId?: string;
        /** @description Open, and waiting for this; repeated for several */
        waitingFor?: ('queue' | 'worker' | 'model' | 'activity')[];
      };
      header?: never;
      path: {
        /** @example shop */
        projectId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ChainPage'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  startChain: {
    parameters: {
      query?: never;
      header?: {
        /** @description Another way to give the build id */
        'idempotency-key'?: string;
      };
      path: {
        /** @example shop */
        projectId: string;
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': {
          /** @description The limits of the whole chain: US dollars, model turns, ms */
          budget?: {
            maxCostUsd?: number;
            maxTurns?: number;
            timeoutMs?: number;
          };
          /** @description The caller's key of the chain; default: the version id */
          buildId?: string;
          /** @description Context size below which compaction is skipped */
          compactThresholdTokens?: number;
          /** @description Insert missing rows of projects and project_versions */
          createRows?: boolean;
          /**
           * @description What to build, in the user's words
           * @example Add a search field
           */
          instruction?: string;
          /** @description Limits of steps, instead of those of the worker's definition: ms, model turns, US dollars */
          limits?: {
            [key: string]: {
              maxAttempts?: number;
              maxCostUsd?: number;
              maxTurns?: number;
              timeoutMs?: number;
            };
          };
          /**
           * @description Default: `initial` for a project without a session, else `update`
           * @enum {string}
           */
          mode?: 'initial' | 'update';
          /** @description The model of every step */
          model?: string;
          /** @description Continue from the nearest ancestor in the store */
          recover?: boolean;
          /** @description When the build starts a fresh session; 0 for never */
          reset?: {
            contextTokens?: number;
            operations?: number;
          };
          /** @description A subset of the steps of the workers' definition; default: all */
          steps?: string[];
          /**
           * @description A version of the project
           * @example shop-v2
           */
          versionId: string;
          /**
           * @description Absolute path of the project's files, as the worker sees it
           * @example /srv/projects/shop
           */
          workspace: string;
        };
      };
    };
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['StartedChain'];
        };
      };
      /** @description Accepted */
      202: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['StartedChain'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      413: components['responses']['Problem413'];
      415: components['responses']['Problem415'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  getChain: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /**
         * @description The caller's key of the chain; the version id by default
         * @example shop-v2
         */
        buildId: string;
        /** @example shop */
        projectId: string;
        /** @example shop-v2 */
        versionId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Chain'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  listAttempts: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /**
         * @description The caller's key of the chain; the version id by default
         * @example shop-v2
         */
        buildId: string;
        /** @example shop */
        projectId: string;
        /** @example shop-v2 */
        versionId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Attempts'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  getChainBrief: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /**
         * @description The caller's key of the chain; the version id by default
         * @example shop-v2
         */
        buildId: string;
        /** @example shop */
        projectId: string;
        /** @example shop-v2 */
        versionId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ChainBrief'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  cancelChain: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /**
         * @description The caller's key of the chain; the version id by default
         * @example shop-v2
         */
        buildId: string;
        /** @example shop */
        projectId: string;
        /** @example shop-v2 */
        versionId: string;
      };
      cookie?: never;
    };
    requestBody?: {
      content: {
        'application/json': {
          /** @description Close a chain whose workflow is gone, or of another Temporal */
          force?: boolean;
        };
      };
    };
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ChainState'];
        };
      };
      /** @description Accepted */
      202: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ChainState'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      413: components['responses']['Problem413'];
      415: components['responses']['Problem415'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  getChainChanges: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /**
         * @description The caller's key of the chain; the version id by default
         * @example shop-v2
         */
        buildId: string;
        /** @example shop */
        projectId: string;
        /** @example shop-v2 */
        versionId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Changes'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  listChainEvents: {
    parameters: {
      query?: {
        /** @description The cursor of the last event or item that was seen: what came after it follows; `0` for the oldest event that is kept, `now` for what comes */
        after?: string;
        /** @description Events at most; default 100 */
        limit?: number;
      };
      header?: never;
      path: {
        /**
         * @description The caller's key of the chain; the version id by default
         * @example shop-v2
         */
        buildId: string;
        /** @example shop */
        projectId: string;
        /** @example shop-v2 */
        versionId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['EventPage'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  streamChainEvents: {
    parameters: {
      query?: {
        /** @description The cursor of the last event or item that was seen: what came after it follows; `0` for the oldest event that is kept, `now` for what comes */
        after?: string;
        /** @description Whether live entries and live text are shown. Default: true, except over all projects */
        live?: 'true' | 'false';
      };
      header?: {
        /** @description The cursor of the last event or item that was seen: what came after it follows; `0` for the oldest event that is kept, `now` for what comes */
        'last-event-id'?: string;
      };
      path: {
        /**
         * @description The caller's key of the chain; the version id by default
         * @example shop-v2
         */
        buildId: string;
        /** @example shop */
        projectId: string;
        /** @example shop-v2 */
        versionId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Server-sent events: `id` is a cursor, `event` a type, `data` JSON */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'text/event-stream': string;
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  getChainProgress: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /**
         * @description The caller's key of the chain; the version id by default
         * @example shop-v2
         */
        buildId: string;
        /** @example shop */
        projectId: string;
        /** @example shop-v2 */
        versionId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ChainProgress'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  getChainSpend: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /**
         * @description The caller's key of the chain; the version id by default
         * @example shop-v2
         */
        buildId: string;
        /** @example shop */
        projectId: string;
        /** @example shop-v2 */
        versionId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ChainSpend'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  getChainState: {
    parameters: {
      query?: {
        /** @description Wait so many ms at most; default 0 */
        waitMs?: number;
      };
      header?: never;
      path: {
        /**
         * @description The caller's key of the chain; the version id by default
         * @example shop-v2
         */
        buildId: string;
        /** @example shop */
        projectId: string;
        /** @example shop-v2 */
        versionId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ChainState'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  getChainTimeline: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /**
         * @description The caller's key of the chain; the version id by default
         * @example shop-v2
         */
        buildId: string;
        /** @example shop */
        projectId: string;
        /** @example shop-v2 */
        versionId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Timeline'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  listChats: {
    parameters: {
      query?: {
        /** @description `nextCursor` of the page before */
        cursor?: string;
        /** @description Entries at most; default 50 */
        limit?: number;
      };
      header?: never;
      path: {
        /** @example shop */
        projectId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ChatPage'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  listQuestions: {
    parameters: {
      query?: {
        /** @description `nextCursor` of the page before */
        cursor?: string;
        /** @description Entries at most; default 100 */
        limit?: number;
      };
      header?: never;
      path: {
        /**
         * @description The project id for the chat that `ask` uses by default
         * @example shop
         */
        chatId: string;
        /** @example shop */
        projectId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['QuestionPage'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  ask: {
    parameters: {
      query?: {
        /** @description Wait so many ms at most; default 0 */
        waitMs?: number;
      };
      header?: {
        /** @description Another way to give the message id */
        'idempotency-key'?: string;
      };
      path: {
        /**
         * @description The project id for the chat that `ask` uses by default
         * @example shop
         */
        chatId: string;
        /** @example shop */
        projectId: string;
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': {
          /** @description The answer never becomes the head; default: false */
          aside?: boolean;
          /**
           * @description The caller's key of the question; default: a new one
           * @example m-1
           */
          messageId?: string;
          /**
           * @description The question
           * @example Which files hold the search?
           */
          text: string;
          /**
           * @description Which session to read while a chain works on the project; default: now
           * @enum {string}
           */
          when?: 'now' | 'after_step' | 'committed';
          /** @description Absolute path of the project's files, as the worker sees it */
          workspace?: string;
        };
      };
    };
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Question'];
        };
      };
      /** @description Accepted */
      202: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Question'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      413: components['responses']['Problem413'];
      415: components['responses']['Problem415'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  getQuestion: {
    parameters: {
      query?: {
        /** @description Wait so many ms at most; default 0 */
        waitMs?: number;
      };
      header?: never;
      path: {
        /**
         * @description The project id for the chat that `ask` uses by default
         * @example shop
         */
        chatId: string;
        /** @example m-1 */
        messageId: string;
        /** @example shop */
        projectId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Question'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  eraseProject: {
    parameters: {
      query?: {
        /** @description Wait so many ms at most; default 0 */
        waitMs?: number;
      };
      header?: never;
      path: {
        /** @example shop */
        projectId: string;
      };
      cookie?: never;
    };
    requestBody?: {
      content: {
        'application/json': {
          /** @description Who asks, for the certificate, which names the key of the call as well */
          by?: string;
          /** @description Only say what there is to erase; default: false */
          dryRun?: boolean;
          /** @description Why, for the certificate */
          reason?: string;
        };
      };
    };
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Erasure'];
        };
      };
      /** @description Accepted */
      202: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Erasure'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      413: components['responses']['Problem413'];
      415: components['responses']['Problem415'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  getErasure: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /** @example shop */
        projectId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Erasure'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  listProjectEvents: {
    parameters: {
      query?: {
        /** @description The cursor of the last event or item that was seen: what came after it follows; `0` for the oldest event that is kept, `now` for what comes */
        after?: string;
        /** @description Events at most; default 100 */
        limit?: number;
      };
      header?: never;
      path: {
        /** @example shop */
        projectId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['EventPage'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  streamProjectEvents: {
    parameters: {
      query?: {
        /** @description The cursor of the last event or item that was seen: what came after it follows; `0` for the oldest event that is kept, `now` for what comes */
        after?: string;
        /** @description Whether live entries and live text are shown. Default: true, except over all projects */
        live?: 'true' | 'false';
      };
      header?: {
        /** @description The cursor of the last event or item that was seen: what came after it follows; `0` for the oldest event that is kept, `now` for what comes */
        'last-event-id'?: string;
      };
      path: {
        /** @example shop */
        projectId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description Server-sent events: `id` is a cursor, `event` a type, `data` JSON */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'text/event-stream': string;
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  getHead: {
    parameters: {
      query?: {
        /** @description Default: now */
        moment?: 'now' | 'after_step' | 'committed';
        /** @description Wait so many ms at most; default 0 */
        waitMs?: number;
      };
      header?: {
        'if-none-match'?: string;
      };
      path: {
        /** @example shop */
        projectId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Head'];
        };
      };
      /** @description The head is the one of If-None-Match */
      304: {
        headers: {
          [name: string]: unknown;
        };
        content?: never;
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  getHold: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /** @example shop */
        projectId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Hold'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  hold: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /** @example shop */
        projectId: string;
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': {
          /**
           * @description Who says so
           * @example legal@example.com
           */
          by: string;
          /**
           * @description Why
           * @example case 17/4
           */
          reason: string;
        };
      };
    };
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Hold'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      413: components['responses']['Problem413'];
      415: components['responses']['Problem415'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  getLineage: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /** @example shop */
        projectId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['SessionIds'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  reconcile: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /** @example shop */
        projectId: string;
      };
      cookie?: never;
    };
    requestBody?: {
      content: {
        'application/json': {
          /** @description Report what would be done, and do nothing */
          dryRun?: boolean;
        };
      };
    };
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Reconciled'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      413: components['responses']['Problem413'];
      415: components['responses']['Problem415'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  recordSession: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /** @example shop */
        projectId: string;
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': {
          /** @description What it took; absent counts are 0, an absent cost is unknown */
          metrics?: {
            cacheReadTokens?: number;
            cacheWriteTokens?: number;
            costUsd?: number;
            durationMs?: number;
            inputTokens?: number;
            model?: string;
            outputTokens?: number;
            turns?: number;
          };
          /**
           * @description Record it though its transcript is not in the store; default false
           * @default false
           */
          notInStore?: boolean;
          /** @description The session on which the operation ended */
          sessionId: string;
          /**
           * @description The name of a step, or a reserved source
           * @example docs
           */
          source: string;
          /** @description Default: the newest version of the project */
          versionId?: string;
        };
      };
    };
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['RecordedSession'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      413: components['responses']['Problem413'];
      415: components['responses']['Problem415'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  recover: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /** @example shop */
        projectId: string;
      };
      cookie?: never;
    };
    requestBody?: {
      content: {
        'application/json': {
          /** @description Report what would be done, and do nothing */
          dryRun?: boolean;
          /** @description Default: the head */
          sessionId?: string;
        };
      };
    };
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Recovered'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      413: components['responses']['Problem413'];
      415: components['responses']['Problem415'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  release: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /** @example shop */
        projectId: string;
      };
      cookie?: never;
    };
    requestBody?: {
      content: {
        'application/json': Record<string, never>;
      };
    };
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Released'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      413: components['responses']['Problem413'];
      415: components['responses']['Problem415'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  getRestoration: {
    parameters: {
      query?: {
        /** @description Wait so many ms at most; default 0 */
        waitMs?: number;
      };
      header?: never;
      path: {
        /** @example shop */
        projectId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Restoration'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  restore: {
    parameters: {
      query?: {
        /** @description Wait so many ms at most; default 0 */
        waitMs?: number;
      };
      header?: never;
      path: {
        /** @example shop */
        projectId: string;
      };
      cookie?: never;
    };
    requestBody?: {
      content: {
        'application/json': {
          /** @description How long retention leaves the project alone; default 30 */
          keepDays?: number;
          /**
           * @description What was archived of this month (UTC), and the transitions from it on
           * @example 2026-03
           */
          month?: string;
          /** @description Only this session */
          sessionId?: string;
        };
      };
    };
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Restoration'];
        };
      };
      /** @description Accepted */
      202: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Restoration'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      413: components['responses']['Problem413'];
      415: components['responses']['Problem415'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  rewind: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /** @example shop */
        projectId: string;
      };
      cookie?: never;
    };
    requestBody: {
      content: {
        'application/json': {
          /** @description Report what would be done, and do nothing */
          dryRun?: boolean;
          /** @description With it the call may be repeated, and moves nothing again */
          key?: string;
          /**
           * @description The number of the transition to go back to
           * @example 12
           */
          to: number;
          /** @description The version that moves along; default: the newest */
          versionId?: string;
        };
      };
    };
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Rewound'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      413: components['responses']['Problem413'];
      415: components['responses']['Problem415'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  getSession: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /** @example shop */
        projectId: string;
        sessionId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Session'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  listEntries: {
    parameters: {
      query?: {
        /** @description `cursor` of an entry, or `nextCursor` of the page before */
        cursor?: string;
        /** @description Entries at most; default 100 */
        limit?: number;
        /** @description Texts of parts are cut to so many characters; default: whole */
        maxText?: number;
        /** @description Whether each entry also has what Claude Code wrote; default true */
        raw?: boolean;
      };
      header?: never;
      path: {
        /** @example shop */
        projectId: string;
        sessionId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['EntriesPage'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  getEntry: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /**
         * @description `cursor` of an entry
         * @example 1.0
         */
        cursor: string;
        /** @example shop */
        projectId: string;
        sessionId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Entry'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  getProjectSpend: {
    parameters: {
      query?: {
        by?: 'day' | 'step' | 'model';
        /** @description From this moment on; ISO 8601; default: 30 days before `until` */
        since?: string;
        /** @description Before this moment; ISO 8601; default: now */
        until?: string;
      };
      header?: never;
      path: {
        /** @example shop */
        projectId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ProjectSpend'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  getProjectStorage: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /** @example shop */
        projectId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['ProjectStorage'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  getProjectSync: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /** @example shop */
        projectId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['SyncReport'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  listTransitions: {
    parameters: {
      query?: {
        /** @description `nextCursor` of the page before */
        cursor?: string;
        /** @description Entries at most; default 100 */
        limit?: number;
      };
      header?: never;
      path: {
        /** @example shop */
        projectId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['TransitionPage'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  getTree: {
    parameters: {
      query?: {
        /** @description The last heads to show; default 200 */
        limit?: number;
      };
      header?: never;
      path: {
        /** @example shop */
        projectId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Tree'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  unbindWorkspace: {
    parameters: {
      query?: never;
      header?: never;
      path: {
        /** @example shop */
        projectId: string;
      };
      cookie?: never;
    };
    requestBody?: {
      content: {
        'application/json': Record<string, never>;
      };
    };
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Unbound'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      413: components['responses']['Problem413'];
      415: components['responses']['Problem415'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  getRetention: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['RetentionStatus'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  runRetention: {
    parameters: {
      query?: {
        /** @description Wait so many ms at most; default 0 */
        waitMs?: number;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: {
      content: {
        'application/json': {
          /** @description Write nothing; default: false */
          dryRun?: boolean;
          /** @description Only this project */
          projectId?: string;
        };
      };
    };
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['RetentionRunState'];
        };
      };
      /** @description Accepted */
      202: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['RetentionRunState'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      413: components['responses']['Problem413'];
      415: components['responses']['Problem415'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  getRetentionRun: {
    parameters: {
      query?: {
        /** @description Wait so many ms at most; default 0 */
        waitMs?: number;
      };
      header?: never;
      path: {
        runId: string;
      };
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['RetentionRunState'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  getServer: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Server'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  getSpend: {
    parameters: {
      query: {
        /** @description How it is grouped; days are UTC */
        by: 'day' | 'step' | 'model' | 'project';
        /** @description Groups at most, those that cost most; default: all */
        limit?: number;
        /** @description Only this project */
        projectId?: string;
        /** @description From this moment on; ISO 8601; default: 30 days before `until` */
        since?: string;
        /** @description Before this moment; ISO 8601; default: now */
        until?: string;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['SpendGroups'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  getSpendCsv: {
    parameters: {
      query: {
        /** @description How it is grouped; days are UTC */
        by: 'day' | 'step' | 'model' | 'project';
        /** @description Groups at most, those that cost most; default: all */
        limit?: number;
        /** @description Only this project */
        projectId?: string;
        /** @description From this moment on; ISO 8601; default: 30 days before `until` */
        since?: string;
        /** @description Before this moment; ISO 8601; default: now */
        until?: string;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description A line with the names of the columns, and a line per group */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'text/csv': string;
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  getStorage: {
    parameters: {
      query?: {
        /** @description Entries at most; default 20 */
        limit?: number;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Storage'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  getSync: {
    parameters: {
      query?: {
        /** @description Drifted projects to show; 0 only counts, which is fast; default 100 */
        limit?: number;
      };
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['SyncReport'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
  listWorkers: {
    parameters: {
      query?: never;
      header?: never;
      path?: never;
      cookie?: never;
    };
    requestBody?: never;
    responses: {
      /** @description OK */
      200: {
        headers: {
          [name: string]: unknown;
        };
        content: {
          'application/json': components['schemas']['Workers'];
        };
      };
      400: components['responses']['Problem400'];
      401: components['responses']['Problem401'];
      403: components['responses']['Problem403'];
      404: components['responses']['Problem404'];
      409: components['responses']['Problem409'];
      429: components['responses']['Problem429'];
      500: components['responses']['Problem500'];
      503: components['responses']['Problem503'];
    };
  };
}
