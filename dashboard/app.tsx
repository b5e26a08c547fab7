import { QueryClientProvider } from '@tanstack/preact-query';
import { ErrorBoundary, LocationProvider, Route, Router, lazy } from 'preact-iso';
import { queryClient } from './api/query.js';
import { Shell } from './shell/shell.js';
import { NotFound } from './shell/not-found.js';

const Overview = lazy(() => import('./pages/overview/overview.js'));
const Projects = lazy(() => import('./pages/projects/projects.js'));
const Project = lazy(() => import('./pages/project/project.js'));
const Chain = lazy(() => import('./pages/chain/chain.js'));
const Transcript = lazy(() => import('./pages/transcript/transcript.js'));
const Integrity = lazy(() => import('./pages/integrity/integrity.js'));
const Costs = lazy(() => import('./pages/costs/costs.js'));
const Settings = lazy(() => import('./pages/settings/settings.js'));

/** All pages; `links.ts` makes their addresses, server/pages.ts answers them. */
export function App() {
  return (
    <LocationProvider>
      <QueryClientProvider client={queryClient}>
        <Shell>
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
        </Shell>
      </QueryClientProvider>
    </LocationProvider>
  );
}
