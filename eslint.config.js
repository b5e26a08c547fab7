import tseslint from 'typescript-eslint';

/**
 * The rooms and what each may import, one way. A room that is not listed as importable stays private to the rooms
 * above it; `test` and `bench` may import everything.
 */
const rooms = {
  contracts: [],
  config: ['contracts'],
  temporal: ['contracts', 'config'],
  transcript: ['contracts', 'workspace'],
  workspace: ['contracts'],
  archive: ['contracts'],
  definition: ['contracts', 'config'],
  workflows: ['contracts', 'temporal'],
  agent: ['contracts', 'transcript', 'definition'],
  storage: ['contracts', 'transcript', 'temporal'],
  activities: [
    ...['contracts', 'temporal', 'transcript', 'definition', 'agent', 'storage', 'workspace'],
    'archive',
  ],
  client: ['contracts', 'temporal', 'transcript', 'storage', 'workspace'],
  workers: [
    ...['contracts', 'config', 'temporal', 'transcript', 'definition', 'workflows', 'activities', 'agent'],
    ...['storage', 'workspace', 'archive', 'client'],
  ],
  // A face: what a command reads or does is a call of the client.
  cli: ['contracts', 'config', 'temporal', 'definition', 'client', 'workspace', 'agent', 'workers', 'server'],
  // The other face: what a route reads or does is a call of the client.
  server: ['contracts', 'config', 'temporal', 'client'],
  // Runs in browsers: nothing but types of contracts.
  http: ['contracts'],
  // The pages, built on the HTTP API alone.
  dashboard: ['contracts', 'http'],
  dev: [
    ...['contracts', 'config', 'temporal', 'definition', 'agent', 'client', 'storage', 'server', 'cli'],
    'workers',
  ],
};

/** What `migrate` and `doctor` consist of: they work on a database that no client could use yet, and try what workers use. */
const onTheSchema = [
  ...[
    'commands/migrate',
    'commands/doctor',
    'doctor-archive',
    'doctor-checks',
    'doctor-database',
    'doctor-redis',
  ],
  ...['database', 'expectations'],
];

const oneWayImports = [
  ...Object.entries(rooms).map(([room, allowed]) => importsOf(room, allowed, [`${room}/**/*.{ts,tsx}`])),
  importsOf(
    'cli',
    [...rooms.cli, 'storage', 'archive'],
    onTheSchema.map((file) => `cli/${file}.ts`),
  ),
];

function importsOf(room, allowed, files) {
  const forbidden = Object.keys(rooms).filter((other) => other !== room && !allowed.includes(other));
  return {
    files,
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              regex: `^(\\.\\./)+(${[...forbidden, 'test', 'bench', 'scripts'].join('|')})/`,
              message: `${room}/ may import ${allowed.join(', ') || 'no other room'}; see eslint.config.js.`,
            },
            ...(room === 'workflows'
              ? [
                  {
                    regex:
                      '^(zod|pg|ioredis|node:|fs|path|crypto|os|child_process|@temporalio/(client|worker|activity))',
                    message: 'Workflow code is deterministic: no zod, no Node built-ins, no clients.',
                  },
                  {
                    regex: '/temporal/(?!names\\.js$)',
                    message: 'Of temporal/ a workflow may import names.js only; the rest holds clients.',
                  },
                ]
              : []),
          ],
        },
      ],
    },
  };
}

const noEnvironment = {
  selector: "MemberExpression[object.name='process'][property.name='env']",
  message: 'The environment is read in config/ (and by dev/ and cli/, which start programs).',
};

/** Words of models, tools and users may hold characters that reorder or hide what stands beside them. */
function textOfOthers() {
  const names =
    '/^(instruction|firstLine|question|reply|message|detail|remedy|reason|warning|lastFailure|lacks|path)$/';
  const words = `:matches(MemberExpression[computed=false][property.name=${names}], Identifier[name=${names}])`;
  const child = ':matches(JSXElement, JSXFragment) > JSXExpressionContainer';
  const attribute = 'JSXAttribute[name.name=/^(title|alt|aria-label)$/] > JSXExpressionContainer';
  const read = [child, attribute].flatMap((place) => [
    `${place} > ${words}`,
    `${place} > LogicalExpression > ${words}.right`,
    `${place} > ConditionalExpression > ${words}.consequent`,
    `${place} > ConditionalExpression > ${words}.alternate`,
    `${place} > TemplateLiteral > ${words}`,
  ]);
  return {
    selector: read.join(', '),
    message: 'Show it by <Text>, in an attribute by visibleText: it may hold what cannot be seen.',
  };
}

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/', '.session-chain/', 'coverage/'] },
  ...tseslint.configs.recommendedTypeChecked,
  {
    languageOptions: {
      parserOptions: {
        projectService: { allowDefaultProject: ['*.js', 'scripts/*.js'] },
        tsconfigRootDir: import.meta.dirname,
      },
    },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/consistent-type-imports': 'error',
      // An import of types that names no import as such loads its module all the same.
      '@typescript-eslint/no-import-type-side-effects': 'error',
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      eqeqeq: 'error',
      'no-console': 'error',
    },
  },
  ...oneWayImports,
  {
    files: ['workflows/**/*.ts', 'contracts/**/*.ts'],
    rules: {
      'no-restricted-globals': [
        'error',
        'process',
        'Date',
        'setTimeout',
        'setInterval',
        'fetch',
        'Buffer',
        'crypto',
      ],
      'no-restricted-properties': ['error', { object: 'Math', property: 'random' }],
    },
  },
  {
    files: [
      'contracts/**',
      'workflows/**',
      'agent/**',
      'workspace/**',
      'archive/**',
      'storage/**',
      'activities/**',
      'client/**',
      'workers/**',
      'temporal/**',
      'transcript/**',
      'definition/**',
    ],
    rules: {
      'no-restricted-syntax': ['error', noEnvironment],
    },
  },
  {
    files: ['storage/**'],
    ignores: ['storage/jsonb.ts', 'storage/checkpoint.ts'],
    rules: {
      'no-restricted-syntax': [
        'error',
        noEnvironment,
        {
          selector: "CallExpression[callee.object.name='JSON'][callee.property.name='stringify']",
          message:
            'What goes to Postgres as JSON goes through jsonbOf, which leaves out what it cannot store.',
        },
      ],
    },
  },
  {
    files: ['dashboard/**/*.tsx'],
    rules: { 'no-restricted-syntax': ['error', noEnvironment, textOfOthers()] },
  },
  {
    files: ['test/**'],
    ignores: ['test/support/properties.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        { name: 'fast-check', message: 'test/support/properties.ts has it with the seed of the run.' },
      ],
    },
  },
  { files: ['**/*.js'], ...tseslint.configs.disableTypeChecked },
  {
    files: [
      'scripts/**',
      'cli/**',
      'bench/**',
      'test/support/**',
      'dev/**',
      'examples/**',
      'test/fault/main.ts',
      'test/fault/random-main.ts',
      'workers/build-bundle.ts',
    ],
    rules: { 'no-console': 'off' },
  },
);
