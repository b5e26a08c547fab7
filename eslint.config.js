import tseslint from 'typescript-eslint';

/**
 * The rooms and what each may import, one way. A room that is not listed as importable stays private to the rooms
 * above it; `test` and `bench` may import everything.
 */
const rooms = {
  contracts: [],
  config: ['contracts'],
  workflows: ['contracts'],
  agent: ['contracts'],
  workspace: ['contracts'],
  storage: ['contracts'],
  activities: ['contracts', 'agent', 'storage', 'workspace'],
  workers: ['contracts', 'config', 'workflows', 'activities', 'agent', 'storage', 'workspace', 'client'],
  client: ['contracts', 'storage', 'workspace'],
  cli: ['contracts', 'config', 'client', 'storage', 'workspace', 'agent', 'workers'],
  dev: ['contracts', 'config', 'client', 'storage', 'cli', 'workers'],
};

const oneWayImports = Object.entries(rooms).map(([room, allowed]) => {
  const forbidden = Object.keys(rooms).filter((other) => other !== room && !allowed.includes(other));
  return {
    files: [`${room}/**/*.ts`],
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
                    regex: '/schemas\\.js$',
                    message: 'Schemas use zod, which a workflow bundle must not hold.',
                  },
                ]
              : []),
          ],
        },
      ],
    },
  };
});

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
      'storage/**',
      'activities/**',
      'client/**',
      'workers/**',
    ],
    rules: {
      'no-restricted-syntax': [
        'error',
        {
          selector: "MemberExpression[object.name='process'][property.name='env']",
          message: 'The environment is read in config/ (and by dev/ and cli/, which start programs).',
        },
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
      'workers/build-bundle.ts',
    ],
    rules: { 'no-console': 'off' },
  },
);
