import { QueryClientProvider } from '@tanstack/preact-query';
import { ErrorBoundary, LocationProvider, Route, Router, useLocation } from 'preact-iso';
import { queryClient } from './api/query.js';
import { Failures, lazyPage } from './shell/failures.js';
import { NotFound } from './shell/not-found.js';
import { Shell } from './shell/shell.js';

const Overview = lazyPage(() => import('./pages/overview/overview.js'));
const Projects = lazyPage(() => import('./pages/projects/projects.js'));
const Project = lazyPage(() => import('./pages/project/project.js'));
const Chain = lazyPage(() => import('./pages/chain/chain.js'));
const Transcript = lazyPage(() => import('./pages/transcript/transcript.js'));
const Integrity = lazyPage(() => import('./pages/integrity/integrity.js'));
const Costs = lazyPage(() => import('./pages/costs/costs.js'));
const Settings = lazyPage(() => import('./pages/settings/settings.js'));

/** Links to other addresses leave the page: the server answers them. */
const pageLinks = /^\/(?!v1\/|openapi\.json|metrics)/;

/** All pages; `links.ts` makes their addresses, server/pages.ts answers them. */
export function App() {
  return (
    <LocationProvider scope={pageLinks}>
      <QueryClientProvider client={queryClient}>
        <Shell>
          <Pages />
        </Shell>
      </QueryClientProvider>
    </LocationProvider>
  );
}

function Pages() {
  const { path } = useLocation();
  return (
    <Failures at={path}>
      <ErrorBoundary>
        <Router>
          <Route path="/" component={Overview} />
          <Route path="/projects" component={Projects} />
          <Route path="/projects/:projectId" component={Project} />
          <Route path="/projects/:projectId/chains/:versionId/:buildId" component={Chain} />
          <Route path="/projects/:projectId/sessions/:sessionId" component={Transcript} />
          <Route path="/integrity" component={Integrity} />
          <Route path="/costs" component={Costs} />
          <Route path="/settings" component={Settings} />
          <Route default component={NotFound} />
        </Router>
      </ErrorBoundary>
    </Failures>
  );
}
