use crate::Session;

/// The credit type that most tests use; scale 6.
pub const TYPE: &str = "ai-tokens";

/// | feature | costs in `ai-tokens` |
/// |---|---|
/// | `feature-ai-tokens` | 1 in `plan-basic`, 2 in `plan-pro` |
/// | `feature-search` | 0.5 in every plan |
/// | `feature-free` | 0 in every plan |
/// | `feature-unpriced` | no rate at all |
///
/// Besides: credit type `images` (scale 0) and `cents` (scale 2), both without a rate; plan `plan-empty` without anything.
pub fn seed_catalogue(session: &mut Session) {
    for call in [
        "define_credit_type(credit_type_id => 'ai-tokens', display_name => 'AI tokens')",
        "define_credit_type(credit_type_id => 'images', display_name => 'Images', scale => 0)",
        "define_credit_type(credit_type_id => 'cents', display_name => 'Cents', scale => 2)",
        "define_feature(feature_id => 'feature-ai-tokens', display_name => 'Tokens', unit => 'token')",
        "define_feature(feature_id => 'feature-search', display_name => 'Search', unit => 'query')",
        "define_feature(feature_id => 'feature-free', display_name => 'Free', unit => 'call')",
        "define_feature(feature_id => 'feature-unpriced', display_name => 'Unpriced', unit => 'call')",
        "define_plan(plan_id => 'plan-basic', display_name => 'Basic')",
        "define_plan(plan_id => 'plan-pro', display_name => 'Pro')",
        "define_plan(plan_id => 'plan-empty', display_name => 'Empty')",
        "define_rate(feature_id => 'feature-ai-tokens', credit_type_id => 'ai-tokens', credits_per_unit => 1, plan_id => 'plan-basic')",
        "define_rate(feature_id => 'feature-ai-tokens', credit_type_id => 'ai-tokens', credits_per_unit => 2, plan_id => 'plan-pro')",
        "define_rate(feature_id => 'feature-search', credit_type_id => 'ai-tokens', credits_per_unit => 0.5)",
        "define_rate(feature_id => 'feature-free', credit_type_id => 'ai-tokens', credits_per_unit => 0)",
    ] {
        session.call(call);
    }
}
