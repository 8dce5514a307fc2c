//! Who users and clients are, and how they log in: the rooms of `identity`, put together.

use std::sync::Arc;

use portcullis_core::directory::Directory;
use portcullis_core::ports::{Changing, Clock, Registry};
use portcullis_identity::login::LoginParts;
use portcullis_identity::{
    AccessTokens, Cost, Lockout, Login, LoginSettings, MasterKey, PasswordLimits, Passwords, Sessions, SigningKeys,
    TokenPairs, Users,
};

use super::settings::lockout_settings;
use crate::config::Config;

/// Memory for sessions that were seen on this node.
pub(super) const SESSION_BYTES: u64 = 64 << 20;
/// The most sessions one user has.
const SESSIONS_PER_USER: u32 = 100;

/// The rooms of `identity`, put together.
pub(super) struct Identity {
    pub(super) directory: Arc<Directory>,
    pub(super) keys: Arc<SigningKeys>,
    pub(super) tokens: Arc<AccessTokens>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) users: Arc<Users>,
    pub(super) lockout: Arc<Lockout>,
    pub(super) login: Arc<Login>,
    pub(super) pairs: Arc<TokenPairs>,
}

impl Identity {
    /// Puts them together.
    pub(super) async fn build(
        config: &Config,
        registry: &Arc<dyn Registry>,
        master: &Arc<MasterKey>,
        clock: &Arc<dyn Clock>,
        issuer: Arc<str>,
        changing: Arc<dyn Changing>,
    ) -> anyhow::Result<Self> {
        let directory = Arc::new(Directory::default());
        let keys = Arc::new(SigningKeys::load_or_create(registry.as_ref(), master, clock.as_ref()).await?);
        let tokens = Arc::new(AccessTokens::new(Arc::clone(&keys), issuer, Arc::clone(clock)));
        let lasting = config.tokens.session_ttl;
        let sessions = Arc::new(Sessions::new(Arc::clone(registry), Arc::clone(clock), lasting, SESSION_BYTES));
        let limits = PasswordLimits {
            cost: Cost::default(),
            at_a_time: config.passwords.parallel,
            queue: config.passwords.queue,
            per_address: (config.passwords.queue / 4).max(1),
        };
        let passwords = Arc::new(tokio::task::spawn_blocking(move || Passwords::new(limits)).await??);
        let users = Arc::new(Users::new(
            Arc::clone(registry),
            changing,
            Arc::clone(&passwords),
            Arc::clone(&sessions),
            Arc::clone(clock),
        ));
        let lockout = Arc::new(Lockout::new(&lockout_settings(config), Arc::clone(clock)));
        let parts = LoginParts {
            registry: Arc::clone(registry),
            users: Arc::clone(&users),
            passwords,
            lockout: Arc::clone(&lockout),
            tokens: Arc::clone(&tokens),
            sessions: Arc::clone(&sessions),
            master: Arc::clone(master),
            directory: Arc::clone(&directory),
            clock: Arc::clone(clock),
        };
        let settings = LoginSettings {
            access_ttl: config.tokens.access_ttl,
            refresh_ttl: config.tokens.refresh_ttl,
            session_ttl: config.tokens.session_ttl,
            refresh_grace: config.tokens.refresh_grace,
            sessions_per_user: SESSIONS_PER_USER,
            auth_api_sessions: u32::try_from(config.limits.auth_api_sessions).unwrap_or(u32::MAX),
        };
        let pairs = Arc::new(TokenPairs::new(parts.clone(), settings));
        let login = Arc::new(Login::new(parts, settings));
        Ok(Self { directory, keys, tokens, sessions, users, lockout, login, pairs })
    }
}
