//! Certificates by ACME, put together: where they are kept, who issues them, and where they are shown.

use std::sync::Arc;

use portcullis_core::jobs::Jobs;
use portcullis_core::ports::{Clock, Upkeep};
use portcullis_identity::MasterKey;
use portcullis_proxy::challenges::Challenges;
use portcullis_proxy::tls::Termination;
use portcullis_upstream::Upstreams;
use portcullis_upstream::outbound::HttpOutbound;

use crate::acme::{Asked, Authority, ChallengeStore, Renewer, RenewerParts, Report, Settings};
use crate::config::ConfigError;

/// What obtains certificates.
pub(super) struct Obtaining {
    /// What the data plane shows to authorities.
    pub(super) challenges: Arc<dyn Challenges>,
    /// How it goes.
    pub(super) report: Arc<Report>,
    /// Who does the work.
    pub(super) renewer: Renewer,
}

impl Obtaining {
    /// Takes up what is kept.
    pub(super) async fn start(
        settings: Settings,
        registry: &Arc<dyn Upkeep>,
        master: &Arc<MasterKey>,
        clock: &Arc<dyn Clock>,
        jobs: &Arc<dyn Jobs>,
        upstreams: &Upstreams,
        tls: Arc<Termination>,
    ) -> anyhow::Result<Self> {
        let outbound = HttpOutbound::over(upstreams, settings.ca.clone()).map_err(|problems| {
            let place = |problem: portcullis_core::model::Problem| match problem.path.as_str() {
                "ca" => portcullis_core::model::Problem::new("acme.ca_file", problem.message),
                _ => problem,
            };
            ConfigError { problems: problems.into_iter().map(place).collect() }
        })?;
        let (hosts, directory) = (settings.hosts.clone(), settings.directory.clone());
        let challenges = settings.challenges.clone();
        let board = ChallengeStore::new(hosts.clone(), Arc::clone(registry), Arc::clone(jobs), Arc::clone(clock));
        let issuer = Authority::new(
            settings,
            Arc::clone(registry),
            Arc::clone(master),
            Arc::clone(clock),
            Arc::new(outbound),
            Arc::clone(&board),
        );
        let report = Arc::new(Report::default());
        let renewer = Renewer::start(RenewerParts {
            hosts,
            directory,
            challenges,
            registry: Arc::clone(registry),
            master: Arc::clone(master),
            clock: Arc::clone(clock),
            issuer: Arc::new(issuer),
            board: Arc::clone(&board),
            tls,
            report: Arc::clone(&report),
        });
        Ok(Self { challenges: Arc::new(Asked(board)), report, renewer: renewer.await? })
    }
}
